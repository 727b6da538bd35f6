package basic_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport/sallyport/auth"
	"github.com/sallyport/sallyport/auth/basic"
)

func write(t testing.TB, path, content string) {
	t.Helper()
	temporary := path + ".new"
	if err := os.WriteFile(temporary, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(temporary, path); err != nil {
		t.Fatal(err)
	}
}

func htpasswd(t testing.TB, path string, edit func(*basic.HtpasswdConfig)) *basic.Htpasswd {
	t.Helper()
	cfg := basic.HtpasswdConfig{Path: path, Passwords: newHasher(t), Logger: slog.New(slog.DiscardHandler)}
	if edit != nil {
		edit(&cfg)
	}
	h, err := basic.NewHtpasswd(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// bcrypted is what htpasswd -B -C 5 makes of "pässword 1".
const bcrypted = "$2y$05$j7pQG3p6Yr1WR.HrM5LjOueKWOsfK3n.yFRP/YFhShHJVbwHas.Eq"

func TestHtpasswd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "htpasswd")
	write(t, path, "\ufeff# accounts\n\nada:"+bcrypted+"\r\n  \nböb with blanks:"+cheap()+"\neve:"+bcrypted)
	h := htpasswd(t, path, func(c *basic.HtpasswdConfig) {
		c.Fill = func(u *auth.User) {
			if u.PasswordHash != "" {
				t.Error("Fill sees a hash")
			}
			switch u.Name {
			case "ada":
				u.Roles, u.PasswordHash = []string{"admin"}, "ignored"
			case "eve":
				u.Disabled = true
			}
		}
	})
	hasher := newHasher(t)
	b := newBasic(t, basic.Config{Users: h, Passwords: hasher})
	for _, tt := range []struct {
		name, pw string
		ok       bool
	}{
		{"ada", "pässword 1", true},
		{"ada", "pässword 2", false},
		{"böb with blanks", secret, true},
		{"bob", secret, false},
		{"eve", "pässword 1", false},
		{"# accounts", "", false},
	} {
		id, err := login(b, encode(tt.name, tt.pw))
		if (err == nil) != tt.ok || err != nil && !errors.Is(err, auth.ErrInvalid) {
			t.Errorf("%s with %q: got %v", tt.name, tt.pw, err)
		}
		if tt.ok && (id.Subject != tt.name || tt.name == "ada" && id.Roles[0] != "admin") {
			t.Errorf("%s: got %v with the roles %q", tt.name, id, id.Roles)
		}
	}
	// Old hashes are not made anew, since there is nobody to keep them.
	if n := hasher.Stats().Done; n != 6 {
		t.Errorf("%d hashes for 6 logins", n)
	}
	if err := h.SetPasswordHash(t.Context(), "ada", cheap(), 0); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("SetPasswordHash: got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if u, err := h.User(ctx, "ada"); !errors.Is(err, context.Canceled) || u.Subject != "" {
		t.Errorf("with a cancelled context: got %v, %v", u, err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if got := fmt.Sprintf(verb, h); strings.Contains(got, "ada") || strings.Contains(got, "$2y$") {
			t.Errorf("%s shows %s", verb, got)
		}
	}
	u, err := h.User(t.Context(), "ada")
	if err != nil {
		t.Fatal(err)
	}
	u.Roles[0] = "changed"
	if again, _ := h.User(t.Context(), "ada"); again.Roles[0] != "admin" {
		t.Error("the caller changed the store")
	}
}

// No line that is not good is passed over, and no error has a part of it.
func TestHtpasswdRefuses(t *testing.T) {
	for _, tt := range []struct {
		name, content, want string
	}{
		{"no colon", "ada" + bcrypted, "line 1: no colon"},
		{"no name", "ok:" + bcrypted + "\n:" + bcrypted, "line 2: the name"},
		{"no hash", "ada:", "line 1: "},
		{"ASVS 11.4.1: MD5", "ada:$apr1$salt$aWUuTRhRH7MLx1ZpHGmCQ1", "line 1: "},
		{"ASVS 11.4.1: SHA-1", "ada:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "htpasswd -B"},
		{"ASVS 11.4.1: crypt", "ada:rqXexS6ZhobKA", "htpasswd -B"},
		{"plain text", "ada:hunter2hunter2", "htpasswd -B"},
		{"a cost of hours", "ada:$2y$31$j7pQG3p6Yr1WR.HrM5LjOueKWOsfK3n.yFRP/YFhShHJVbwHas.Eq", "line 1: "},
		{"something behind the hash", "ada:" + bcrypted + ":x", "line 1: "},
		{"a name twice", "ada:" + bcrypted + "\nbob:" + bcrypted + "\nada:" + cheap(), "line 3: the name is taken"},
		{"not UTF-8", "ad\xff:" + bcrypted, "line 1: the name"},
		{"a control character", "ad\x01:" + bcrypted, "line 1: the name"},
		{"a long name", strings.Repeat("a", 257) + ":" + bcrypted, "line 1: the name"},
		{"a long line", "ada:" + bcrypted + "\n" + strings.Repeat("a", 2000), "line 2: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "htpasswd")
			write(t, path, tt.content)
			h, err := basic.NewHtpasswd(basic.HtpasswdConfig{Path: path, Passwords: newHasher(t)})
			if err == nil || h != nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got %v, %v, want an error with %q", h, err, tt.want)
			}
			for _, part := range []string{"hunter2", "aWUuTRh", "W6ph5", "rqXexS", "j7pQG3"} {
				if strings.Contains(err.Error(), part) {
					t.Errorf("the error shows %q: %v", part, err)
				}
			}
		})
	}
	dir := t.TempDir()
	open := filepath.Join(dir, "open")
	write(t, open, "ada:"+bcrypted)
	if err := os.Chmod(open, 0o646); err != nil {
		t.Fatal(err)
	}
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	large := filepath.Join(dir, "large")
	if err := os.WriteFile(large, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(large, 17<<20); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{"": "Path is empty", open: "writable for everyone", fifo: "not a regular file", dir: "not a regular file", large: "16777216 bytes", filepath.Join(dir, "none"): "no such file"} {
		if _, err := basic.NewHtpasswd(basic.HtpasswdConfig{Path: path, Passwords: newHasher(t)}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want an error with %q", filepath.Base(path), err, want)
		}
	}
	if _, err := basic.NewHtpasswd(basic.HtpasswdConfig{Path: open}); err == nil || !strings.Contains(err.Error(), "Passwords") {
		t.Errorf("without Passwords: got %v", err)
	}
	none := filepath.Join(dir, "empty")
	write(t, none, "# nobody yet\n")
	if _, err := htpasswd(t, none, nil).User(t.Context(), "ada"); !errors.Is(err, auth.ErrNotFound) {
		t.Errorf("ASVS 6.3.2: of an empty file: got %v", err)
	}
}

// A change counts within a second. A file that is not good any more is told of once,
// and what was read last is good for another minute.
func TestHtpasswdReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "htpasswd")
		write(t, path, "ada:"+cheap())
		var log bytes.Buffer
		h := htpasswd(t, path, func(c *basic.HtpasswdConfig) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
		has := func(name string) string {
			t.Helper()
			switch u, err := h.User(t.Context(), name); {
			case err == nil && u.Subject == name:
				return "yes"
			case errors.Is(err, auth.ErrNotFound):
				return "no"
			case err != nil && u.Subject == "":
				return "unknown"
			default:
				t.Errorf("got %v, %v", u, err)
				return ""
			}
		}
		want := func(when, ada, bob string) {
			t.Helper()
			if a, b := has("ada"), has("bob"); a != ada || b != bob {
				t.Errorf("%s: ada %s, bob %s; want %s, %s", when, a, b, ada, bob)
			}
		}
		want("at first", "yes", "no")
		write(t, path, "bob:"+cheap())
		want("at once", "yes", "no")
		time.Sleep(time.Second)
		want("a second later", "no", "yes")
		for broken, content := range map[string]string{"a bad line": "ada:" + cheap() + "\nbob", "nothing": ""} {
			log.Reset()
			if content == "" {
				if err := os.Remove(path); err != nil {
					t.Fatal(err)
				}
			} else {
				write(t, path, content)
			}
			for range 59 {
				time.Sleep(time.Second)
				want(broken, "no", "yes")
			}
			time.Sleep(time.Second)
			want(broken+", a minute later", "unknown", "unknown")
			if n := strings.Count(log.String(), "level=ERROR"); n != 1 || strings.Contains(log.String(), "$argon2id$") {
				t.Errorf("%s: the log has\n%s", broken, &log)
			}
			write(t, path, "bob:"+cheap())
			time.Sleep(time.Second)
			want("good again", "no", "yes")
			if n := strings.Count(log.String(), "level=INFO"); n != 1 {
				t.Errorf("%s, and good again: the log has\n%s", broken, &log)
			}
		}
		// Another file that looks the same from outside.
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		write(t, path+".2", "ada:"+cheap())
		if err := os.Chtimes(path+".2", info.ModTime(), info.ModTime()); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".2", path); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		want("another file of that size and time", "yes", "no")
	})
}

// Without requests nothing is read, and the first after a long time sees the change.
func TestHtpasswdAfterALongTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "htpasswd")
		write(t, path, "ada:"+cheap())
		h := htpasswd(t, path, nil)
		time.Sleep(24 * time.Hour)
		write(t, path, "bob:"+cheap())
		if _, err := h.User(t.Context(), "ada"); !errors.Is(err, auth.ErrNotFound) {
			t.Errorf("one that was removed: got %v", err)
		}
		time.Sleep(24 * time.Hour)
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if _, err := h.User(t.Context(), "bob"); err == nil || errors.Is(err, auth.ErrNotFound) {
			t.Errorf("a day after it was read, and removed: got %v, want that it can't be told", err)
		}
	})
}

// A panic of Fill, or a read that does not end, is a file that is not good: nobody stays
// who was removed.
func TestHtpasswdFillThatPanicsOrHangs(t *testing.T) {
	for _, how := range []string{"panics", "hangs"} {
		t.Run(how, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "htpasswd")
				write(t, path, "ada:"+cheap())
				broken, release := false, make(chan struct{})
				h := htpasswd(t, path, func(c *basic.HtpasswdConfig) {
					c.Fill = func(*auth.User) {
						if !broken {
							return
						}
						if how == "panics" {
							panic("x")
						}
						<-release
					}
				})
				ask := func(name string) (err error) {
					defer func() {
						if recover() != nil {
							err = errors.New("panic")
						}
					}()
					_, err = h.User(t.Context(), name)
					return err
				}
				broken = true
				write(t, path, "bob:"+cheap())
				time.Sleep(time.Second)
				go func() { _ = ask("ada") }()
				synctest.Wait()
				for range 2 * 60 {
					time.Sleep(time.Second)
					go func() { _ = ask("ada") }()
				}
				time.Sleep(10 * time.Second)
				asked := time.Now()
				if err := ask("ada"); err == nil || errors.Is(err, auth.ErrNotFound) {
					t.Errorf("two minutes later, one that was removed: got %v, want that it can't be told", err)
				}
				if d := time.Since(asked); d != 0 {
					t.Errorf("two minutes later the answer takes %v, although it is settled", d)
				}
				synctest.Wait()
				broken = false
				close(release)
				synctest.Wait()
				time.Sleep(time.Second)
				if err := ask("bob"); err != nil {
					t.Errorf("good again: %v", err)
				}
				if err := ask("ada"); !errors.Is(err, auth.ErrNotFound) {
					t.Errorf("good again, one that was removed: got %v", err)
				}
			})
		})
	}
}

// After an idle time nobody is answered from the old list while another request reads
// the new one.
func TestHtpasswdBesideTheReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "htpasswd")
		write(t, path, "ada:"+cheap())
		slow, release := false, make(chan struct{})
		h := htpasswd(t, path, func(c *basic.HtpasswdConfig) {
			c.Fill = func(*auth.User) {
				if slow {
					<-release
				}
			}
		})
		write(t, path, "bob:"+cheap())
		time.Sleep(time.Hour)
		slow = true
		answers := make(chan error, 4)
		for range 4 {
			go func() {
				_, err := h.User(t.Context(), "ada")
				answers <- err
			}()
		}
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := h.User(ctx, "ada"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("one who gives up: got %v", err)
		}
		close(release)
		for range 4 {
			if err := <-answers; !errors.Is(err, auth.ErrNotFound) {
				t.Errorf("one that was removed: got %v, want auth.ErrNotFound", err)
			}
		}
	})
}

// A file that is cut off while it is written does not lock everyone out at once, and one
// that stays empty means that nobody is left.
func TestHtpasswdThatIsEmptied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "htpasswd")
		write(t, path, "ada:"+cheap())
		h := htpasswd(t, path, nil)
		if err := os.Truncate(path, 0); err != nil {
			t.Fatal(err)
		}
		for range 59 {
			time.Sleep(time.Second)
			if _, err := h.User(t.Context(), "ada"); err != nil {
				t.Fatalf("while it is empty: %v", err)
			}
		}
		time.Sleep(2 * time.Second)
		if _, err := h.User(t.Context(), "ada"); !errors.Is(err, auth.ErrNotFound) {
			t.Errorf("a minute later: got %v, want auth.ErrNotFound", err)
		}
	})
}

func TestHtpasswdConcurrentUse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "htpasswd")
	write(t, path, "ada:"+cheap()+"\nbob:"+cheap())
	h := htpasswd(t, path, nil)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 1000 {
				if _, err := h.User(t.Context(), "ada"); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Go(func() {
		for i := range 100 {
			write(t, path, fmt.Sprintf("ada:%s\nbob%d:%s", cheap(), i, cheap()))
		}
	})
	wg.Wait()
}

// FuzzHtpasswd reads files: nothing that is taken has an empty name or a hash that
// can't be used, and no error shows a line.
func FuzzHtpasswd(f *testing.F) {
	for _, s := range []string{"", "ada:" + bcrypted, "#\n\n \nada:" + bcrypted + "\r\n", ":", "a:b:c", "ada:" + bcrypted + "\nada:" + bcrypted, "\ufeffada:" + bcrypted, "a\x00:" + bcrypted} {
		f.Add(s, "ada")
	}
	dir, hasher := f.TempDir(), newHasher(f)
	f.Fuzz(func(t *testing.T, content, name string) {
		path := filepath.Join(dir, "htpasswd")
		write(t, path, content)
		h, err := basic.NewHtpasswd(basic.HtpasswdConfig{Path: path, Passwords: hasher})
		if err != nil {
			if len(content) > 20 && strings.Contains(err.Error(), content) {
				t.Fatalf("the error shows the file: %v", err)
			}
			return
		}
		u, err := h.User(t.Context(), name)
		if err != nil {
			if !errors.Is(err, auth.ErrNotFound) {
				t.Fatal(err)
			}
			return
		}
		if u.Name != name || name == "" || strings.ContainsAny(name, ":\n\x00") || hasher.Check(u.PasswordHash) != nil || !strings.Contains(content, name+":"+u.PasswordHash) {
			t.Fatalf("%q gave %q with %q", content, u.Name, u.PasswordHash)
		}
	})
}
