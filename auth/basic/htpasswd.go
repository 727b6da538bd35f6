package basic

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/password"
)

const (
	maxHtpasswd      = 16 << 20 // bytes
	maxHtpasswdLine  = 1 << 10
	htpasswdInterval = time.Second // between looks at the file
	htpasswdGrace    = time.Minute // for which what was read last is good if the file is not
	htpasswdPatience = 5 * time.Second
)

// HtpasswdConfig says where a file of accounts is. Path and Passwords are required.
type HtpasswdConfig struct {
	// Path is the file, as htpasswd -B writes it: a line for each account, its name, a
	// colon and its hash. Blank lines and lines that begin with # are passed over. It
	// must not be writable for everyone.
	Path string

	// Passwords is what verifies the hashes. A hash that it can't use is an error.
	Passwords *password.Hasher

	// Fill, if not nil, completes each account as it is read, say with Roles. The
	// Subject and the Name that it finds are the name in the file; PasswordHash is
	// empty, and what Fill makes of it is ignored.
	Fill func(*auth.User)

	// Logger is told when the file can't be read again, and when it can. The default
	// is slog.Default().
	Logger *slog.Logger
}

// Htpasswd is a store of accounts in a file that others write. It is safe for
// concurrent use.
//
// The file is looked at again, at most once a second, when an account is looked up: a
// change counts a second after it was made, and after an idle time at once. While the
// file can't be read, has a line that is not good, or is empty and was not before, the
// accounts that were read last are good for a minute after they were last seen to be
// those of the file; after that nobody can log in, and the answer is 503. Replace the
// file as a whole, by renaming another one to it, so that no half of it is ever read.
//
// Its hashes should be as costly as each other, and as new ones of Passwords or its
// Reference: htpasswd -B has a cost of 5 unless -C says otherwise, which is much less
// work than a hash of argon2id, so that the time of an answer would tell which names
// there are.
type Htpasswd struct {
	cfg HtpasswdConfig

	mu      sync.RWMutex
	users   map[string]auth.User
	stamp   fileStamp
	looked  time.Time     // when a look at the file began last
	good    time.Time     // when the last look began that found it good
	failed  error         // why it is not, or nil
	looking chan struct{} // closed when the look that is under way has ended; nil if none is
}

var _ auth.ReadOnlyUsers = (*Htpasswd)(nil)

// A fileStamp changes when a file does.
type fileStamp struct {
	modified time.Time
	size     int64
	info     os.FileInfo // tells another file of the same name, time and size
}

// NewHtpasswd reads the file. It returns an error that names the line, and not what is in
// it, if one is no account, is that of another, or has a hash that Passwords can't use:
// those of MD5, SHA-1 and crypt(3) are among them, since they are no password hashes
// (ASVS 5.0, 11.4.1). It returns an error if the file can't be read, is not a regular
// one, is larger than 16 MiB or writable for everyone.
func NewHtpasswd(cfg HtpasswdConfig) (*Htpasswd, error) {
	switch {
	case cfg.Path == "":
		return nil, errors.New("auth/basic: HtpasswdConfig.Path is empty")
	case cfg.Passwords == nil:
		return nil, errors.New("auth/basic: HtpasswdConfig.Passwords is nil")
	}
	h := &Htpasswd{cfg: cfg}
	now := time.Now()
	users, stamp, err := h.read()
	if err != nil {
		return nil, err
	}
	h.users, h.stamp, h.looked, h.good = users, stamp, now, now
	return h, nil
}

// ReadOnly says that hashes can't be replaced.
func (h *Htpasswd) ReadOnly() {}

// String returns the name of the type.
func (h *Htpasswd) String() string { return "basic.Htpasswd" }

// Format writes String whatever the verb, so that no hash gets into a log.
func (h *Htpasswd) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, h.String()) }

// User returns the account with this name. It returns auth.ErrNotFound if there is
// none, the error of ctx, or why the file can't be read.
func (h *Htpasswd) User(ctx context.Context, name string) (auth.User, error) {
	if err := ctx.Err(); err != nil {
		return auth.User{}, err
	}
	if err := h.refresh(ctx); err != nil {
		return auth.User{}, err
	}
	h.mu.RLock()
	defer h.mu.RUnlock()
	if err := h.failed; time.Since(h.good) >= htpasswdGrace {
		if err == nil {
			err = errors.New("auth/basic: it takes too long to read it")
		}
		return auth.User{}, fmt.Errorf("auth/basic: there is no good file of accounts: %w", err)
	}
	u, ok := h.users[name]
	if !ok {
		return auth.User{}, auth.ErrNotFound
	}
	u.Roles, u.Scopes = append([]string(nil), u.Roles...), append([]string(nil), u.Scopes...)
	return u, nil
}

// SetPasswordHash returns an error: the file is written by others.
func (h *Htpasswd) SetPasswordHash(context.Context, string, string, int64) error {
	return fmt.Errorf("auth/basic: a file of accounts: %w", errors.ErrUnsupported)
}

// refresh looks at the file if it is time to. One caller does. The others go on with
// what there is if that was seen a moment ago, and else wait for the one who looks.
func (h *Htpasswd) refresh(ctx context.Context) error {
	h.mu.RLock()
	looking, age := h.looking, time.Since(h.looked)
	due := looking == nil && age >= htpasswdInterval
	fresh := time.Since(h.good) < 2*htpasswdInterval || h.failed != nil
	h.mu.RUnlock()
	if !due {
		if looking == nil || fresh {
			return nil
		}
		patience := time.NewTimer(htpasswdPatience - age)
		defer patience.Stop()
		select {
		case <-looking:
			return nil
		case <-patience.C: // what was read last may be too old
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	h.mu.Lock()
	if h.looking != nil || time.Since(h.looked) < htpasswdInterval {
		h.mu.Unlock()
		return h.refresh(ctx)
	}
	done := make(chan struct{})
	h.looking, h.looked = done, time.Now()
	began, before, failing := h.looked, h.stamp, h.failed != nil
	h.mu.Unlock()

	var users map[string]auth.User
	var stamp fileStamp
	err := errors.New("auth/basic: Fill panicked") // unless it did not
	defer func() {
		h.mu.Lock()
		was, had := h.failed, len(h.users)
		if err == nil && users != nil && len(users) == 0 && had > 0 && began.Sub(h.good) < htpasswdGrace {
			err = errors.New("auth/basic: the file of accounts has none, and had some before")
		}
		h.looking, h.failed = nil, err
		if err == nil {
			h.good = began
			if users != nil {
				h.users, h.stamp = users, stamp
			}
		}
		h.mu.Unlock()
		close(done)
		switch {
		case err != nil && was == nil:
			h.log().ErrorContext(ctx, "auth/basic: the file of accounts can't be read; what was read last is good for a minute", "error", err)
		case err == nil && was != nil:
			h.log().InfoContext(ctx, "auth/basic: the file of accounts can be read again")
		}
	}()
	var lookErr error
	if stamp, lookErr = h.look(); lookErr == nil && (failing || !stamp.is(before) || stamp.isRecent(began)) {
		users, stamp, lookErr = h.read()
	}
	err = lookErr
	return nil
}

func (h *Htpasswd) log() *slog.Logger {
	if h.cfg.Logger != nil {
		return h.cfg.Logger
	}
	return slog.Default()
}

func (s fileStamp) is(t fileStamp) bool {
	return s.size == t.size && s.modified.Equal(t.modified) && os.SameFile(s.info, t.info)
}

// isRecent reports whether the file may have been changed again within the resolution of
// its time.
func (s fileStamp) isRecent(now time.Time) bool {
	return now.Sub(s.modified).Abs() < 2*htpasswdInterval
}

func (h *Htpasswd) look() (fileStamp, error) {
	info, err := os.Stat(h.cfg.Path)
	if err != nil {
		return fileStamp{}, fmt.Errorf("auth/basic: %w", err)
	}
	return stampOf(info)
}

func stampOf(info os.FileInfo) (fileStamp, error) {
	switch {
	case !info.Mode().IsRegular():
		return fileStamp{}, errors.New("auth/basic: HtpasswdConfig.Path is not a regular file")
	case info.Mode().Perm()&0o002 != 0:
		return fileStamp{}, errors.New("auth/basic: HtpasswdConfig.Path is writable for everyone; chmod o-w")
	case info.Size() > maxHtpasswd:
		return fileStamp{}, fmt.Errorf("auth/basic: HtpasswdConfig.Path has more than %d bytes", maxHtpasswd)
	}
	return fileStamp{info.ModTime(), info.Size(), info}, nil
}

func (h *Htpasswd) read() (map[string]auth.User, fileStamp, error) {
	if _, err := h.look(); err != nil { // a FIFO would be waited for
		return nil, fileStamp{}, err
	}
	f, err := os.Open(h.cfg.Path)
	if err != nil {
		return nil, fileStamp{}, fmt.Errorf("auth/basic: %w", err)
	}
	defer func() { _ = f.Close() }() // it was only read
	info, err := f.Stat()
	if err != nil {
		return nil, fileStamp{}, fmt.Errorf("auth/basic: %w", err)
	}
	stamp, err := stampOf(info)
	if err != nil {
		return nil, fileStamp{}, err
	}
	users, err := h.parse(io.LimitReader(f, maxHtpasswd))
	return users, stamp, err
}

// parse reads accounts, line by line. No error has a part of a line.
func (h *Htpasswd) parse(r io.Reader) (map[string]auth.User, error) {
	users := make(map[string]auth.User)
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxHtpasswdLine)
	n := 0
	bad := func(reason string) error {
		return fmt.Errorf("auth/basic: HtpasswdConfig.Path, line %d: %s", n, reason)
	}
	for lines.Scan() {
		n++
		line := strings.TrimSuffix(lines.Text(), "\r")
		if n == 1 {
			line = strings.TrimPrefix(line, "\ufeff")
		}
		if strings.TrimSpace(line) == "" || line[0] == '#' {
			continue
		}
		name, hash, ok := strings.Cut(line, ":")
		switch {
		case !ok:
			return nil, bad("no colon")
		case name == "" || len(name) > maxName || !utf8.ValidString(name) || strings.IndexFunc(name, isControl) >= 0:
			return nil, bad("the name is not one that can log in")
		}
		if _, ok := users[name]; ok {
			return nil, bad("the name is taken")
		}
		if err := h.cfg.Passwords.Check(hash); err != nil {
			return nil, bad(err.Error() + "; htpasswd -B writes one that is good")
		}
		u := auth.User{Subject: name, Name: name}
		if h.cfg.Fill != nil {
			h.cfg.Fill(&u)
		}
		if u.Subject == "" {
			return nil, bad("Fill left no Subject")
		}
		u.PasswordHash = hash
		users[name] = u
	}
	if err := lines.Err(); err != nil {
		n++
		return nil, bad(err.Error())
	}
	return users, nil
}
