package errors_test

import (
	"net/http"
	"strings"
	"testing"

	httperr "github.com/sallyport/sallyport/errors"
)

const (
	asJSON = "application/problem+json"
	asText = "text/plain; charset=utf-8"
	asHTML = "text/html; charset=utf-8"
	asXML  = "application/problem+xml; charset=utf-8"
)

func TestRFC9110_12_5_1_Accept(t *testing.T) {
	for _, tt := range []struct {
		name   string
		accept []string
		want   string
	}{
		{"absent", nil, asJSON},
		{"empty", []string{""}, asJSON},
		{"curl", []string{"*/*"}, asJSON},
		{"Firefox and Safari", []string{"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}, asHTML},
		{"Chrome", []string{"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7"}, asHTML},
		{"jQuery for JSON", []string{"application/json, text/javascript, */*; q=0.01"}, asJSON},
		{"axios", []string{"application/json, text/plain, */*"}, asJSON},
		{"problem", []string{"application/problem+json"}, asJSON},
		{"JSON", []string{"application/json"}, asJSON},
		{"any application", []string{"application/*"}, asJSON},
		{"plain text", []string{"text/plain"}, asText},
		{"HTML", []string{"text/html"}, asHTML},
		{"XHTML", []string{"application/xhtml+xml"}, asHTML},
		{"any text", []string{"text/*"}, asText},
		{"any text but plain", []string{"text/*, text/plain;q=0"}, asHTML},
		{"XML", []string{"application/xml"}, asXML},
		{"XML as text", []string{"text/xml"}, asXML},
		{"problem+xml", []string{"application/problem+xml, application/problem+json;q=0.9"}, asXML},
		{"JSON wins a tie with XML", []string{"application/xml, application/json"}, asJSON},
		{"JSON wins a tie with XML by a wildcard", []string{"application/problem+xml, */*"}, asJSON},
		{"a browser", []string{"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}, asHTML},
		{"in capitals", []string{"TEXT/HTML"}, asHTML},
		{"with blanks", []string{" \ttext/html ;\tq=0.5 , */* ; q=0.4 "}, asHTML},
		{"JSON wins a tie", []string{"text/html, text/plain, application/json"}, asJSON},
		{"JSON wins a tie with a wildcard", []string{"text/html, */*"}, asJSON},
		{"by weight", []string{"application/json;q=0.5, text/plain;q=0.6, text/html;q=0.55"}, asText},
		{"by a thousandth", []string{"application/json;q=0.998, text/html;q=0.999"}, asHTML},
		{"one with a point", []string{"application/json;q=0.9, text/html;q=1."}, asHTML},
		{"one with noughts", []string{"application/json;q=0.9, text/html;q=1.000"}, asHTML},
		{"weight in capitals", []string{"application/json;Q=0.5, text/html"}, asHTML},
		{"specific beats general", []string{"*/*;q=1, application/json;q=0.1, text/plain;q=0.2, text/html;q=0"}, asText},
		{"general does not raise what is specific", []string{"application/json;q=0.1, application/*, text/html;q=0.2"}, asHTML},
		{"problem+json beats JSON", []string{"application/json;q=0.5, application/problem+json, text/html;q=0.7"}, asJSON},
		{"problem+json refused", []string{"application/problem+json;q=0, application/json, text/html;q=0.1"}, asHTML},
		{"the better of two equals", []string{"text/html;q=0.3, text/html;level=1;q=0.9, */*;q=0.5"}, asHTML},
		{"the better of two equals, reversed", []string{"text/html;level=1;q=0.9, text/html;q=0.3, */*;q=0.5"}, asHTML},
		{"several fields are one list", []string{"application/json;q=0.5", "text/html"}, asHTML},
		{"parameters", []string{"text/html;charset=utf-8;q=0.9;ext=1, application/json;q=0.8"}, asHTML},

		{"nothing acceptable", []string{"image/png"}, asJSON},
		{"everything refused", []string{"*/*;q=0"}, asJSON},
		{"JSON refused", []string{"application/json;q=0, */*"}, asText},
		{"all but nothing", []string{"application/json;q=0, text/plain;q=0, text/html;q=0"}, asJSON},

		{"commas", []string{",,,,"}, asJSON},
		{"semicolons", []string{";;;text/html"}, asJSON},
		{"no subtype", []string{"text"}, asJSON},
		{"weight is no number", []string{"text/html;q=x"}, asJSON},
		{"weight is a minus", []string{"text/html;q=-1"}, asJSON},
		{"weight is too long", []string{"text/html;q=0.1234"}, asJSON},
		{"weight is over one", []string{"text/html;q=1.001, */*;q=0.1"}, asJSON},
		{"weight is two", []string{"text/html;q=2"}, asJSON},
		{"weight is not a digit", []string{"text/html;q=0.1e"}, asJSON},
		{"weight is empty", []string{"text/html;q="}, asJSON},
		{"weight has no value", []string{"text/html;q"}, asJSON},
		{"control characters", []string{"text/html\x00, \xff"}, asJSON},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := get(fail(httperr.New(404, "not_found", "")), tt.accept...)
			if got := w.Header().Get("Content-Type"); got != tt.want {
				t.Errorf("Accept: %q: got %s, want %s", tt.accept, got, tt.want)
			}
		})
	}
}

// However long the list, only its beginning is read.
func TestALongAcceptIsBounded(t *testing.T) {
	h := fail(httperr.New(404, "not_found", ""))
	for _, tt := range []struct {
		name   string
		accept []string
		want   string
	}{
		{"within the bound", []string{strings.Repeat("a/b,", 31) + "text/html"}, asHTML},
		{"beyond the bound", []string{strings.Repeat("a/b,", 32) + "text/html"}, asJSON},
		{"10,000 ranges", []string{strings.Repeat("text/html;q=0.5,", 10_000)}, asHTML},
		{"10,000 fields", strings.Split(strings.Repeat("text/html;q=0.5,", 10_000), ","), asHTML},
		{"10,000 parameters", []string{"text/html" + strings.Repeat(";a=b", 10_000)}, asHTML},
		{"a range of 1 MiB", []string{strings.Repeat("A", 1<<20) + "/html"}, asJSON},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := get(h, tt.accept...).Header().Get("Content-Type"); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
	count := func(accept string) float64 {
		return testing.AllocsPerRun(100, func() { get(h, accept) })
	}
	if short, long := count("TEXT/HTML"), count(strings.Repeat("TEXT/HTML,", 10_000)); long > short+32 {
		t.Errorf("10,000 ranges cost %v allocations more than one, want no more than the 32 that are read", long-short)
	}
}

func TestNegotiationIsForTheClientNotForTheHandler(t *testing.T) {
	w := get(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		httperr.Write(w, r, httperr.New(404, "not_found", ""))
	}), "application/json")
	if got := w.Header()["Content-Type"]; len(got) != 1 || got[0] != asJSON {
		t.Errorf("got %q, want %s", got, asJSON)
	}
}
