package sallyport

import "net/http"

// Middleware wraps a handler in another. It is an alias, so every
// func(http.Handler) http.Handler is one, and the doors of this module fit
// any router that takes that form.
type Middleware = func(http.Handler) http.Handler

// Chain joins doors into one Middleware. The first door is the outermost: it
// sees a request first and its answer last. Chain() is the identity. Chain
// panics if a door is nil.
//
// Chain copies doors, so changing the slice later has no effect. The returned
// Middleware is safe for concurrent use and may wrap any number of handlers.
func Chain(doors ...Middleware) Middleware {
	chain := make([]Middleware, len(doors))
	for i, door := range doors {
		if door == nil {
			panic("sallyport: Chain: a door is nil")
		}
		chain[i] = door
	}
	return func(h http.Handler) http.Handler {
		for i := len(chain) - 1; i >= 0; i-- {
			h = chain[i](h)
		}
		return h
	}
}
