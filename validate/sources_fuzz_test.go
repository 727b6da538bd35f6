package validate_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
	"time"
	"unicode/utf8"

	"github.com/sallyport/sallyport/validate"
)

// FuzzParameters checks that what is bound from the query, the path, header fields and cookies
// is what net/url, net/http and strconv read there, and that nothing is let in which comes
// twice.
func FuzzParameters(f *testing.F) {
	f.Add("q=a+b%26&all=1&min=-1.5&tag=x&tag=&n=-1&since=2026-11-23T12:00:00Z&wait=1m30s&from=::1&level=high&limit=255&offset=-3", "7", "18446744073709551615", "a, b ,c", "session=s")
	f.Add("q=%zz;&&=&q", "-9223372036854775808", "+1", ",,", "session=\"s\"; session=t")
	f.Add("limit=256&n=0x1&min=1_0&max=Inf&q=%00\xff", "1e3", " 1", "a\x00", "; =;session")
	v, err := validate.New[search](validate.Config{})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, query, id, version, list, cookie string) {
		r := httptest.NewRequest("GET", "/", nil)
		r.URL.RawQuery = query
		r.SetPathValue("id", id)
		r.Header = http.Header{"X-List": {list}, "Cookie": {cookie}}
		if version != "" {
			r.Header["X-Version"] = []string{version}
		}
		got, err := v.Decode(nop{}, r)
		if err != nil {
			if p := problem(t, err); p.Status != 400 || p.Code != "invalid_parameter" {
				t.Fatalf("got %v, want a 400", p)
			}
			return
		}
		u, err := url.ParseQuery(query)
		if err != nil {
			t.Fatalf("net/url refuses %q: %v", query, err)
		}
		one := func(source, sent, read string) {
			if sent != read || !utf8.ValidString(read) || strings.Contains(read, "\x00") {
				t.Fatalf("the %s has %q, which is read as %q", source, sent, read)
			}
		}
		for name, list := range u {
			if field := slices.Contains([]string{"q", "all", "min", "max", "since", "wait", "from", "level", "limit", "offset", "by"}, name); field && len(list) > 1 {
				t.Fatalf("%s comes %d times in %q", name, len(list), query)
			}
		}
		number := func(name, sent string, read any) {
			want, err := strconv.ParseFloat(sent, 64)
			if got, _ := strconv.ParseFloat(fmt.Sprint(read), 64); err != nil || float32(got) != float32(want) || strings.ContainsAny(sent, " +xXpP_") && !strings.Contains(sent, "e+") && !strings.Contains(sent, "E+") {
				t.Fatalf("%s is %q, which is read as %v", name, sent, read)
			}
		}
		one("query", u.Get("q"), got.Q)
		one("tags", strings.Join(u["tag"], "\x01"), strings.Join(got.Tags, "\x01"))
		one("cookie", session(r), got.Session)
		number("id", id, got.ID)
		if version != "" {
			number("version", version, got.Version)
		}
		if u.Has("limit") {
			number("limit", u.Get("limit"), got.Limit)
		}
		if u.Has("min") {
			number("min", u.Get("min"), got.Min)
		}
		if at, err := time.Parse(time.RFC3339, u.Get("since")); u.Has("since") && (err != nil || !at.Equal(got.Since)) {
			t.Fatalf("since is %q, which is read as %v", u.Get("since"), got.Since)
		}
		if d, err := time.ParseDuration(u.Get("wait")); u.Has("wait") && (err != nil || d != got.Wait) {
			t.Fatalf("wait is %q, which is read as %v", u.Get("wait"), got.Wait)
		}
		for _, item := range got.Lists {
			if item == "" || strings.Trim(item, " \t") != item || strings.Contains(item, ",") || !utf8.ValidString(item) {
				t.Fatalf("the list %q has %q", list, item)
			}
		}
	})
}

// session is the cookie as net/http reads it.
func session(r *http.Request) string {
	if c, err := r.Cookie("session"); err == nil {
		return c.Value
	}
	return ""
}

// FuzzItems checks that each line is an item or the reason why it is none, as if it had come
// alone, and in whatever pieces the body comes.
func FuzzItems(f *testing.F) {
	for _, s := range []string{
		"{\"at\":\"a\",\"value\":2}\n{\"at\":\"b\"}\n", "{\"at\":\"a\"}\r\n\r\n \n{\"at\":", "null\n[]\n{\"at\":1}", "{\"at\":\"\\n\"}\n\x00", "\r\r\n{\"at\":\"a\"}\r",
	} {
		f.Add(s)
	}
	v, err := validate.New[reading](validate.Config{})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body string) {
		if body == "" { // none is no body
			return
		}
		read := func(r *http.Request) (got []string) {
			for item, err := range v.Items(nop{}, r) {
				if p := problem(t, err); p != nil {
					got = append(got, fmt.Sprint(p.Status, p.Code, len(p.Fields)))
				} else {
					got = append(got, fmt.Sprintf("%q %g", item.At, item.Value))
				}
			}
			return got
		}
		got := read(postLines(body))
		slow := postLines(body)
		slow.ContentLength = -1
		slow.TransferEncoding = []string{"chunked"}
		slow.Body = io.NopCloser(iotest.OneByteReader(strings.NewReader(body)))
		if again := read(slow); !reflect.DeepEqual(got, again) {
			t.Fatalf("%q: got %q, byte by byte %q", body, got, again)
		}
		var want []string
		for line := range strings.SplitSeq(body, "\n") {
			line = strings.TrimSuffix(line, "\r")
			if strings.Trim(line, " \t\r") == "" {
				continue
			}
			item, err := v.Decode(nop{}, post(line))
			if p := problem(t, err); p != nil {
				want = append(want, fmt.Sprint(p.Status, p.Code, len(p.Fields)))
				continue
			}
			want = append(want, fmt.Sprintf("%q %g", item.At, item.Value))
			var plain reading
			if err := json.Unmarshal([]byte(line), &plain); err != nil || plain.At != item.At {
				t.Fatalf("%q: encoding/json reads %+v, %v", line, plain, err)
			}
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%q: got %q, its lines are %q", body, got, want)
		}
	})
}
