package main

import (
	"bytes"
	"encoding/json"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/sallyport/sallyport/auth/apikey"
)

func TestArticles(t *testing.T) {
	key, record, err := apikey.Mint(apikey.MintConfig{Subject: "editor"})
	if err != nil {
		t.Fatal(err)
	}
	keys, err := apikey.NewMemoryStore(record)
	if err != nil {
		t.Fatal(err)
	}
	const origin = "https://localhost:8443"
	h, err := newHandler(origin, keys)
	if err != nil {
		t.Fatal(err)
	}
	do := func(key, method, path, contentType, body string, status int) *httptest.ResponseRecorder {
		t.Helper()
		r := httptest.NewRequest(method, origin+path, strings.NewReader(body))
		r.RequestURI = path
		if contentType != "" {
			r.Header.Set("Content-Type", contentType)
		}
		if key != "" {
			r.Header.Set("X-API-Key", key)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != status {
			t.Fatalf("%s %s: got %d %s, want %d", method, path, w.Code, w.Body, status)
		}
		return w
	}
	read := func(path string) string { t.Helper(); return do("", "GET", path, "", "", 200).Body.String() }
	const js, patch, lines = "application/json", "application/merge-patch+json", "application/x-ndjson"

	gates := `{"slug":"gates","title":"Of gates","note":"for us alone"}`
	do("", "POST", "/articles", js, gates, 401)
	do(key, "POST", "/articles", js, gates, 201)
	if w := do(key, "POST", "/articles", js, gates, 409); !strings.Contains(w.Body.String(), `"`+origin+`/problems/slug_taken"`) {
		t.Errorf("got %s", w.Body)
	}
	if got := read("/problems/slug_taken"); !strings.Contains(got, "Choose another slug") {
		t.Errorf("got %s", got)
	}
	do(key, "POST", "/articles", js, `{"slug":"a b","title":""}`, 422)
	do(key, "POST", "/articles", js, `{"slug":"walls","title":"Of walls","picture":""}`, 400)

	if got := read("/articles/gates"); got != `{"language":"en","slug":"gates","summary":"","title":"Of gates"}` {
		t.Errorf("got %s", got)
	}
	do(key, "PATCH", "/articles/gates", patch, `{"summary":"They open.","note":null}`, 204)
	do(key, "PATCH", "/articles/gates", patch, `{"title":null}`, 400)
	do(key, "PATCH", "/articles/walls", patch, `{}`, 404)
	if got := read("/articles/gates"); !strings.Contains(got, `"summary":"They open."`) || !strings.Contains(got, `"title":"Of gates"`) {
		t.Errorf("got %s", got)
	}

	form := func(content string) (body, contentType string) {
		var b bytes.Buffer
		w := multipart.NewWriter(&b)
		part, err := w.CreateFormFile("picture", "gates.png")
		if err != nil {
			t.Fatal(err)
		}
		_, _ = part.Write([]byte(content))
		_ = w.Close()
		return b.String(), w.FormDataContentType()
	}
	body, contentType := form("\x89PNG\r\n\x1a\n" + strings.Repeat("p", 3<<20))
	do(key, "PUT", "/articles/gates/picture", contentType, body, 204)
	body, contentType = form("<svg><script>alert(1)</script></svg>")
	do(key, "PUT", "/articles/gates/picture", contentType, body, 400)

	w := do(key, "POST", "/articles/import", lines, `{"slug":"walls","title":"Of walls"}`+"\n"+gates+"\n{\n"+`{"slug":"doors"}`+"\n", 200)
	var result struct {
		Taken   int
		Refused []struct {
			Item int
			Code string
		}
	}
	if err := json.Unmarshal(w.Body.Bytes(), &result); err != nil || result.Taken != 1 || len(result.Refused) != 3 ||
		result.Refused[0].Code != "slug_taken" || result.Refused[1].Code != "malformed_body" || result.Refused[2].Item != 3 {
		t.Errorf("got %s, %v", w.Body, err)
	}
	do(key, "POST", "/articles/import", js, gates, 415)
	cut := httptest.NewRequest("POST", origin+"/articles/import", io.MultiReader(strings.NewReader(gates+"\n{\"sl"), iotest.ErrReader(io.ErrUnexpectedEOF)))
	cut.RequestURI, cut.ContentLength = "/articles/import", -1
	cut.Header.Set("Content-Type", lines)
	cut.Header.Set("X-API-Key", key)
	broken := httptest.NewRecorder()
	if h.ServeHTTP(broken, cut); broken.Code != 400 {
		t.Errorf("an import that breaks off: got %d %s", broken.Code, broken.Body)
	}
	do(key, "POST", "/articles/import", lines, strings.Repeat("{\n", 101), 422)

	if got := read("/schema"); !strings.Contains(got, `"maxLength":120`) {
		t.Errorf("got %s", got)
	}
	page := do("", "GET", "/", "", "", 200)
	nonce := regexp.MustCompile(`nonce="([^"]+)"`).FindStringSubmatch(page.Body.String())
	if nonce == nil || !strings.Contains(page.Header().Get("Content-Security-Policy"), "'nonce-"+strings.ReplaceAll(nonce[1], "&#43;", "+")+"'") {
		t.Errorf("got %s with %s", page.Body, page.Header().Get("Content-Security-Policy"))
	}
	do("", "GET", "/articles//gates", "", "", http.StatusBadRequest)
}
