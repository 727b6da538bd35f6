package bearer

import (
	"bufio"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"syscall"
	"time"
)

// A streamWriter is the ResponseWriter of a stream. It writes as the one below does
// until the stream is ended.
type streamWriter struct {
	http.ResponseWriter
	st *stream
}

// enter returns why the stream was ended, or notes that something is about to be sent.
func (st *stream) enter() error {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.cause != nil {
		return st.cause
	}
	st.begun = true
	return nil
}

// why returns the error of a write: where it failed because the stream was ended, the
// cause of that.
func (st *stream) why(err error) error {
	if err == nil {
		return nil
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.cause != nil {
		return st.cause
	}
	return err
}

// Unwrap returns the ResponseWriter below, for http.ResponseController.
func (w *streamWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *streamWriter) WriteHeader(status int) {
	if status >= 100 && status < 200 && status != http.StatusSwitchingProtocols {
		w.st.mu.Lock()
		ended := w.st.cause != nil
		w.st.mu.Unlock()
		if !ended { // an informational one: the response is still to come
			w.ResponseWriter.WriteHeader(status)
		}
		return
	}
	if w.st.enter() == nil {
		w.ResponseWriter.WriteHeader(status)
	}
}

func (w *streamWriter) Write(b []byte) (int, error) {
	if err := w.st.enter(); err != nil {
		return 0, err
	}
	n, err := w.ResponseWriter.Write(b)
	return n, w.st.why(err)
}

// WriteString keeps io.WriteString from copying the string.
func (w *streamWriter) WriteString(s string) (int, error) {
	if err := w.st.enter(); err != nil {
		return 0, err
	}
	n, err := io.WriteString(w.ResponseWriter, s)
	return n, w.st.why(err)
}

// filePart is how much of a file is sent, in bytes, before the stream is looked at
// again. A deadline ends it sooner, if the connection has one.
const filePart = 1 << 20

// ReadFrom keeps sendfile working for regular files, which io.Copy hands over in a
// type of package os, and io.CopyN and http.ServeContent in an io.LimitedReader.
// What comes from elsewhere, a pipe too, may come slowly, and is looked at write by
// write.
func (w *streamWriter) ReadFrom(src io.Reader) (total int64, err error) {
	left := int64(math.MaxInt64)
	from := src
	limited, isLimited := src.(*io.LimitedReader) // as io.CopyN and http.ServeContent make it
	if isLimited {
		from, left = limited.R, limited.N
	}
	if !isRegularFile(from) {
		return io.Copy(struct{ io.Writer }{w}, src)
	}
	for left > 0 {
		if err := w.st.enter(); err != nil {
			return total, err
		}
		part := min(left, filePart)
		n, err := io.Copy(w.ResponseWriter, &io.LimitedReader{R: from, N: part})
		total, left = total+n, left-n
		if isLimited {
			limited.N = left
		}
		if err != nil || n < part {
			return total, w.st.why(err)
		}
	}
	return total, nil
}

// isRegularFile recognizes an *os.File and the type as which it writes itself.
func isRegularFile(r io.Reader) bool {
	f, ok := r.(interface {
		syscall.Conn
		Stat() (os.FileInfo, error)
	})
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode().IsRegular()
}

// Flush sends what was written so far, if the connection can.
func (w *streamWriter) Flush() { _ = w.FlushError() }

// FlushError is Flush for http.ResponseController.
func (w *streamWriter) FlushError() error {
	if err := w.st.enter(); err != nil {
		return err
	}
	return w.st.why(http.NewResponseController(w.ResponseWriter).Flush())
}

// SetWriteDeadline does not let a handler undo the end.
func (w *streamWriter) SetWriteDeadline(t time.Time) error {
	w.st.mu.Lock()
	defer w.st.mu.Unlock()
	if w.st.cause != nil {
		return w.st.cause
	}
	return http.NewResponseController(w.ResponseWriter).SetWriteDeadline(t)
}

// SetReadDeadline does not either.
func (w *streamWriter) SetReadDeadline(t time.Time) error {
	w.st.mu.Lock()
	defer w.st.mu.Unlock()
	if w.st.cause != nil {
		return w.st.cause
	}
	return http.NewResponseController(w.ResponseWriter).SetReadDeadline(t)
}

// Hijack hands the connection to the handler, if it can be. It is closed when the
// stream is ended.
func (w *streamWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	w.st.mu.Lock()
	defer w.st.mu.Unlock()
	if w.st.cause != nil {
		return nil, nil, w.st.cause
	}
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	w.st.conn, w.st.begun = conn, true
	sc := &streamConn{conn, w.st}
	if half, ok := conn.(closeWriter); ok {
		return &halfConn{sc, half}, rw, nil
	}
	return sc, rw, nil
}

// A streamConn is a connection that was hijacked.
type streamConn struct {
	net.Conn
	st *stream
}

// Close also ends the watch.
func (c *streamConn) Close() error {
	c.st.released()
	return c.Conn.Close()
}

// A closeWriter can end its direction of a connection, and go on reading.
type closeWriter interface{ CloseWrite() error }

// A halfConn is a streamConn that can do so. httputil.ReverseProxy asks for it.
type halfConn struct {
	*streamConn
	closeWriter
}
