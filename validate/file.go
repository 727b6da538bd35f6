package validate

import (
	"bytes"
	"fmt"
	"io"
	"os"
)

// A File is a file of a form. A field of the type File, *File or []File with a form tag makes
// the body multipart/form-data (RFC 7578); its file tag says what is taken:
//
//	Photo File   `form:"photo" file:"types=image/png image/jpeg,max=512KiB" validate:"required"`
//	Notes []File `form:"notes" file:"types=text/plain" validate:"max=3"`
//
// types are media types, "image/*" for all of a kind and "*/*" for all. They are compared
// with what the file's first 512 bytes look like (WHATWG MIME Sniffing, as
// [http.DetectContentType] does it), not with what the client calls them: SVG and CSV look
// like text, and a type that no file looks like is an error of [New]. max is the size of the
// largest file, with B, KiB or MiB; by default, and at most, it is that of the largest body.
//
// What is larger than Config.MaxMemory allows is kept in a temporary file that only this
// process can read, and that is gone when the handler has returned: of [Validator.Wrap] and
// [Body] at once, of [Validator.Decode] and [Decode] when the request's context ends, which is
// when the client leaves, too. Store what you keep before.
//
// A file that is a picture may be a script as well. Serve what was uploaded from another
// host, or at least as an attachment with X-Content-Type-Options: nosniff.
type File struct {
	// Name is the client's name for the file, made safe to show and to store: its last
	// element, of at most 100 bytes, with letters, digits, blanks, '.', '-' and '_' alone, no
	// dot at its ends, and no name of a device. Two files may have the same name, and its
	// extension says nothing: see Type. It is "file" where nothing is left.
	Name string
	// Type is the media type that the content looks like, "image/png".
	Type string
	// Size is that of the content, in bytes.
	Size int64

	content io.ReaderAt
}

// Open returns the content, from its beginning. Several readers may read it at a time. Their
// error is that of a closed file once the file is gone.
func (f File) Open() *io.SectionReader {
	if f.content == nil {
		return io.NewSectionReader(bytes.NewReader(nil), 0, 0)
	}
	return io.NewSectionReader(f.content, 0, f.Size)
}

// Content returns the whole content in memory, where a large one may be too large. All who ask
// may share it: don't change it.
func (f File) Content() ([]byte, error) {
	if m, ok := f.content.(memory); ok {
		return m, nil
	}
	return io.ReadAll(f.Open())
}

// String says which file it is, and nothing of what is in it.
func (f File) String() string { return fmt.Sprintf("%s (%s, %d bytes)", f.Name, f.Type, f.Size) }

// A memory is the content of a small file.
type memory []byte

func (m memory) ReadAt(p []byte, off int64) (n int, err error) {
	if off < int64(len(m)) {
		n = copy(p, m[off:])
	}
	if n < len(p) {
		err = io.EOF
	}
	return n, err
}

// What is kept of a request is one temporary file, however many files it holds: descriptors
// are few. It has no name where the system lets a file that is open lose it, so that nothing
// is left of it however the process ends.
type kept struct {
	file  *os.File // nil: nothing is kept
	named bool
	size  int64
	err   error // of writing
}

// open makes the file in dir, if there is none yet.
func (k *kept) open(dir string) (err error) {
	if k.file != nil {
		return nil
	}
	if k.file, err = os.CreateTemp(dir, "sallyport-upload-"); err == nil { // for its owner only
		k.named = os.Remove(k.file.Name()) != nil
	}
	return err
}

// close ends the file. If that fails it is left where temporary files are left.
func (k *kept) close() {
	if k == nil || k.file == nil {
		return
	}
	_ = k.file.Close()
	if k.named {
		_ = os.Remove(k.file.Name()) //nolint:gosec // os.CreateTemp named it
	}
}

// Write notes what goes wrong, so that a copy's error can be told from that of its source.
func (k *kept) Write(p []byte) (n int, err error) {
	n, k.err = k.file.Write(p)
	k.size += int64(n)
	return n, k.err
}

// unkept is an error of the server.
func unkept(err error) error {
	return fmt.Errorf("validate: a file of a form could not be kept: %w", err)
}
