package errors

import (
	"context"
	stderrors "errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
)

// statusClientClosed is what several servers log for a request whose client has gone. No
// client ever sees it.
const statusClientClosed = 499

// ofContext returns the Problem of an error that comes of a context which is done, or nil.
// Whose context that is decides: a dependency that had its own deadline was too slow for
// this service, which answers in its place.
func ofContext(r *http.Request, err error) *Problem {
	ended := r.Context().Err()
	switch {
	case stderrors.Is(err, context.Canceled) && gone(r):
		return New(statusClientClosed, "client_closed_request", "").WithCause(err)
	case stderrors.Is(err, context.Canceled) && stderrors.Is(ended, context.Canceled):
		return New(http.StatusServiceUnavailable, "timeout", "The request was given up.").WithCause(err)
	case !stderrors.Is(err, context.DeadlineExceeded):
		return nil
	case stderrors.Is(ended, context.DeadlineExceeded):
		return New(http.StatusServiceUnavailable, "timeout", "The request took too long, and was given up.").WithCause(err)
	default:
		return New(http.StatusGatewayTimeout, "dependency_timeout", "A service that this one depends on took too long.").WithCause(err)
	}
}

// gone reports whether the client has left. A door that gives a request up for a reason of its
// own says so in the context's cause, where net/http has none.
func gone(r *http.Request) bool {
	return stderrors.Is(r.Context().Err(), context.Canceled) && context.Cause(r.Context()) == context.Canceled
}

// A streamError is that of an HTTP/2 stream that was reset: net/http's own turns into any
// struct that looks like it.
type streamError struct {
	StreamID uint32
	Code     uint32
	Cause    error
}

func (streamError) Error() string { return "" }

// ofClient returns the Problem of an error that comes of reading from the client, or of
// writing to one that has left, or nil. Who sends slowly, or leaves, is no fault of the
// service, and must not fill its log.
func ofClient(r *http.Request, err error) *Problem {
	late := stderrors.Is(err, os.ErrDeadlineExceeded)
	left := gone(r) && (stderrors.Is(err, io.ErrUnexpectedEOF) || stderrors.As(err, new(streamError))) || closedStream(r, err)
	var op *net.OpError
	var file *fs.PathError
	switch {
	case stderrors.As(err, &op):
		ours := isClient(r, op)
		late, left = late && ours && op.Op == "read", !late && ours && (op.Op == "read" || op.Op == "write")
	case r.ProtoMajor != 2 || r.ContentLength == 0 || stderrors.As(err, &file): // net/http's HTTP/2 has no OpError
		late = false
	}
	switch {
	case late:
		return New(http.StatusRequestTimeout, "request_timeout", "The request came too slowly.").WithCause(err)
	case left:
		return New(statusClientClosed, "client_closed_request", "").WithCause(err)
	}
	return nil
}

// closedStream reports whether an error is one of net/http for an HTTP/2 stream or connection
// that has ended, for which it has only words. It may come before the context's end.
func closedStream(r *http.Request, err error) bool {
	if r.ProtoMajor != 2 {
		return false
	}
	for inner := err; inner != nil; inner = stderrors.Unwrap(inner) {
		err = inner
	}
	text := fmt.Sprint(err) // survives an Error method that panics
	return text == "http2: stream closed" || text == "client disconnected"
}

// isClient reports whether an error is of the connection that r came by. That is known by this
// server's end of it: doors may have changed what r says of the client's.
func isClient(r *http.Request, op *net.OpError) bool {
	if local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok && op.Source != nil {
		return op.Source.String() == local.String()
	}
	return op.Addr != nil && op.Addr.String() == r.RemoteAddr
}

// MapNotFound returns a Config.Map that answers errors which wrap one of the causes with
// 404, such as sql.ErrNoRows. It is not the default: a row that is missing where there must
// be one is a fault of the service, so name causes that mean the client's choice in all
// handlers, or return [New] with 404 where they do. MapNotFound panics if there is no cause,
// or a nil one.
func MapNotFound(causes ...error) func(error) *Problem {
	if len(causes) == 0 {
		panic("httperr: MapNotFound: no cause")
	}
	for _, cause := range causes {
		if cause == nil {
			panic("httperr: MapNotFound: a cause is nil")
		}
	}
	return func(err error) *Problem {
		for _, cause := range causes {
			if stderrors.Is(err, cause) {
				return New(http.StatusNotFound, "not_found", "There is nothing here by that name.").WithCause(err)
			}
		}
		return nil
	}
}

// MapFirst returns a Config.Map that asks each map in turn, until one knows the error. It
// panics if one of them is nil.
func MapFirst(maps ...func(error) *Problem) func(error) *Problem {
	for _, m := range maps {
		if m == nil {
			panic("httperr: MapFirst: a map is nil")
		}
	}
	return func(err error) *Problem {
		for _, m := range maps {
			if p := m(err); p != nil {
				return p
			}
		}
		return nil
	}
}
