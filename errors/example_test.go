package errors_test

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"

	"github.com/sallyport/sallyport/audit"
	httperr "github.com/sallyport/sallyport/errors"
)

var errNoRows = errors.New("sql: no rows in result set")

// A handler returns what went wrong. The cause goes to the log, and the client
// sees the problem.
func ExampleHandler() {
	mux := http.NewServeMux()
	mux.Handle("GET /items/{id}", httperr.Handler(func(w http.ResponseWriter, r *http.Request) error {
		if r.PathValue("id") != "1" {
			return httperr.New(http.StatusNotFound, "item_not_found", "There is no such item.").WithCause(errNoRows)
		}
		_, err := io.WriteString(w, "a fine item\n")
		return err
	}))
	h := httperr.Recover(httperr.Config{Logger: slog.New(slog.DiscardHandler)})(httperr.Mux(mux))

	for _, path := range []string{"/items/1", "/items/2", "/other"} {
		r := httptest.NewRequest("GET", path, nil)
		r.Header.Set("X-Request-Id", "req-1")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		fmt.Print(w.Code, " ", w.Body)
	}
	// Output:
	// 200 a fine item
	// 404 {"type":"about:blank","title":"Not Found","status":404,"detail":"There is no such item.","code":"item_not_found","request_id":"req-1"}
	// 404 {"type":"about:blank","title":"Not Found","status":404,"detail":"There is nothing at this path.","code":"not_found","request_id":"req-1"}
}

// A panic costs one request, not the process, and tells the client nothing.
func ExampleRecover() {
	quiet := slog.New(slog.DiscardHandler)
	h := httperr.Recover(httperr.Config{
		Logger:   quiet, // gets the cause and the stack
		Audit:    audit.Slog(quiet),
		TypeBase: "https://api.example.com/problems/",
	})(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		panic("secret")
	}))

	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Accept", "text/plain")
	r.Header.Set("X-Request-Id", "req-1")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	var status, code, request, id string
	fmt.Sscanf(w.Body.String(), "%s Internal Server Error\ncode: %s\nrequest id: %s\nerror id: %s", &status, &code, &request, &id)
	fmt.Println(status, code, request, len(id))
	// Output: 500 internal_error req-1 26
}

// Extensions and a header tell clients what they may do about it.
func ExampleProblem() {
	p := &httperr.Problem{
		Type: "https://example.com/probs/out-of-credit", Title: "You do not have enough credit.",
		Detail: "Your current balance is 30, but that costs 50.", Status: http.StatusForbidden, Code: "out_of_credit",
		Header:     http.Header{"Retry-After": {"3600"}},
		Extensions: map[string]any{"balance": 30},
	}
	w := httptest.NewRecorder()
	httperr.Write(w, httptest.NewRequest("GET", "/", nil), p)
	fmt.Println(w.Code, w.Header().Get("Content-Type"), w.Header().Get("Retry-After"))
	fmt.Print(w.Body)
	// Output:
	// 403 application/problem+json 3600
	// {"type":"https://example.com/probs/out-of-credit","title":"You do not have enough credit.","status":403,"detail":"Your current balance is 30, but that costs 50.","code":"out_of_credit","balance":30}
}

// The cause can be matched, and is not shown.
func ExampleProblem_WithCause() {
	err := error(httperr.New(http.StatusNotFound, "item_not_found", "There is no such item.").WithCause(errNoRows))
	fmt.Println(errors.Is(err, errNoRows))
	fmt.Println(err)
	// Output:
	// true
	// httperr: 404: item_not_found: There is no such item.: sql: no rows in result set
}
