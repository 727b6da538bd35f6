package sallyport_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/sallyport/sallyport"
)

// mark returns a door that notes its name on the way in and out.
func mark(name string, trace *[]string) sallyport.Middleware {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			*trace = append(*trace, "in "+name)
			next.ServeHTTP(w, r)
			*trace = append(*trace, "out "+name)
		})
	}
}

func TestChain(t *testing.T) {
	for _, tt := range []struct {
		name  string
		doors []string
		want  []string
	}{
		{"empty is the identity", nil, []string{"handler"}},
		{"one", []string{"a"}, []string{"in a", "handler", "out a"}},
		{"the first is the outermost", []string{"a", "b"}, []string{"in a", "in b", "handler", "out b", "out a"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var trace []string
			var doors []sallyport.Middleware
			for _, name := range tt.doors {
				doors = append(doors, mark(name, &trace))
			}
			h := sallyport.Chain(doors...)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
				trace = append(trace, "handler")
			}))
			clear(doors) // the chain must not see this
			h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
			if !slices.Equal(trace, tt.want) {
				t.Errorf("got %v, want %v", trace, tt.want)
			}
		})
	}
}

func TestChainRefusesANilDoor(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("Chain(nil) did not panic")
		}
	}()
	sallyport.Chain(nil)
}

func ExampleChain() {
	hello := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Print("hello, ")
			next.ServeHTTP(w, r)
		})
	}
	world := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { fmt.Println("world") })

	h := sallyport.Chain(hello, hello)(world)
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
	// Output: hello, hello, world
}

func BenchmarkChain(b *testing.B) {
	door := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { next.ServeHTTP(w, r) })
	}
	h := sallyport.Chain(door, door, door, door, door, door, door, door, door, door)(
		http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil)
	b.ReportAllocs()
	for b.Loop() {
		h.ServeHTTP(w, r)
	}
}
