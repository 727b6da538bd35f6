package validate

import (
	"bufio"
	"compress/gzip"
	"errors"
	"io"
	"math"
	"net/http"
	"strings"
	"sync"

	"github.com/sallyport/sallyport/internal/bodylimit"
)

// An unzipper decodes a body of the coding gzip (RFC 1952). It reads one member and checks
// that it is whole and that nothing follows: what several programs read differently is
// refused here too.
type unzipper struct {
	from  *bufio.Reader
	gzip  *gzip.Reader
	limit int64
	left  int64 // how much more may come
	err   error // once there is one
}

// Those of the pool hold nothing that came from a request but in their buffers, which are
// overwritten before they are read.
var unzippers = sync.Pool{New: func() any { return &unzipper{from: bufio.NewReaderSize(nil, 4<<10), gzip: new(gzip.Reader)} }}

// errTrailing is an error of the decoded body.
var errTrailing = errors.New("validate: something follows the gzip member")

func newUnzipper(body io.Reader, limit int64) *unzipper {
	u := unzippers.Get().(*unzipper)
	u.from.Reset(body)
	u.limit, u.left = limit, min(limit, math.MaxInt64-1) // Read asks for one more
	u.err = u.gzip.Reset(u.from)
	if u.err == nil {
		u.gzip.Multistream(false)
	}
	if u.err == io.EOF { // an empty body is no gzip member
		u.err = io.ErrUnexpectedEOF
	}
	return u
}

func (u *unzipper) release() {
	u.from.Reset(nil)
	u.gzip.Header = gzip.Header{}
	unzippers.Put(u)
}

// Read returns an *http.MaxBytesError as soon as more has come than the limit, however much
// more would.
func (u *unzipper) Read(p []byte) (n int, err error) {
	if u.err != nil {
		return 0, u.err
	}
	if most := u.left + 1; int64(len(p)) > most {
		p = p[:most]
	}
	n, u.err = u.gzip.Read(p)
	if u.left -= int64(n); u.left < 0 {
		n, u.err = n-1, &http.MaxBytesError{Limit: u.limit}
	}
	if u.err == io.EOF {
		if _, err := u.from.ReadByte(); err == nil {
			u.err = errTrailing
		} else if err != io.EOF {
			u.err = err
		}
	}
	return n, u.err
}

// open returns a reader of at most limit bytes of what r's body decodes to, and what must be
// called when it has been read. The coding is one that was accepted.
func open(w http.ResponseWriter, r *http.Request, limit int64) (from io.Reader, done func()) {
	body := bodylimit.Limit(w, r, limit)
	if name, _ := coding(r); name == "" {
		return body, func() {}
	}
	u := newUnzipper(body, limit)
	return u, u.release
}

// coding returns the content coding of a body: "", "gzip", which is also "x-gzip" (RFC 9110, section
// 8.4.1.3), or false for another one, or more than one.
func coding(r *http.Request) (name string, ok bool) {
	for _, line := range r.Header["Content-Encoding"] {
		for c := range strings.SplitSeq(line, ",") {
			switch c = strings.TrimSpace(c); {
			case c == "" || strings.EqualFold(c, "identity"):
			case name == "" && (strings.EqualFold(c, "gzip") || strings.EqualFold(c, "x-gzip")):
				name = "gzip"
			default:
				return "", false
			}
		}
	}
	return name, true
}
