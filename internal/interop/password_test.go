package interop

import (
	"bytes"
	"context"
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sallyport/sallyport/auth/basic"
	"github.com/sallyport/sallyport/auth/password"
)

// The passwords that others hash: what people type, what is long, what is not ASCII.
var typed = []string{"correct horse battery staple", "pässwörd 漢字 🔑", strings.Repeat("long ", 14), "a:b$c\\d'e\"f", " "}

// A file of htpasswd -B is read as it stands, and those of its other hashes are not.
func TestHtpasswdFiles(t *testing.T) {
	need(t, "htpasswd", "apache2-utils")
	hasher := newHasher(t, password.Config{})
	path := filepath.Join(t.TempDir(), "htpasswd")
	for i, pw := range typed {
		flags := "-iB"
		if i == 0 {
			flags = "-icB"
		}
		run(t, pw, "htpasswd", flags, "-C", "5", path, "user"+string(rune('a'+i)))
	}
	users, err := basic.NewHtpasswd(basic.HtpasswdConfig{Path: path, Passwords: hasher})
	if err != nil {
		t.Fatal(err)
	}
	for i, pw := range typed {
		u, err := users.User(t.Context(), "user"+string(rune('a'+i)))
		if err != nil {
			t.Fatal(err)
		}
		verifies(t, hasher, u.PasswordHash, pw)
	}
	for _, flags := range []string{"-im", "-is", "-id", "-i2", "-i5"} { // MD5, SHA-1, crypt(3), SHA-256 and SHA-512
		weak := filepath.Join(t.TempDir(), "htpasswd")
		run(t, "short", "htpasswd", flags+"c", weak, "ada")
		if _, err := basic.NewHtpasswd(basic.HtpasswdConfig{Path: weak, Passwords: hasher}); err == nil || !strings.Contains(err.Error(), "htpasswd -B") {
			t.Errorf("htpasswd %s: got %v, want an error that says to use -B", flags, err)
		}
	}
}

// What Python's passlib, argon2-cffi and hashlib write verifies, and passlib verifies
// what is written here, where it knows the form.
func TestPythonHashes(t *testing.T) {
	const python = "/usr/bin/python3" // the one that Debian's packages are for
	need(t, python, "python3")
	if err := exec.Command(python, "-c", "import passlib, argon2, bcrypt").Run(); err != nil {
		absent(t, "python3-passlib, python3-argon2 and python3-bcrypt are not all installed")
	}
	hasher := newHasher(t, password.Config{})
	for _, pw := range typed {
		for line := range strings.Lines(run(t, pw, python, "-c", `
import sys, os, base64, hashlib
from passlib.hash import pbkdf2_sha256, pbkdf2_sha512, scrypt, argon2, bcrypt
from argon2 import PasswordHasher
pw = sys.stdin.buffer.read().decode()
print(pbkdf2_sha256.using(rounds=1000).hash(pw))
print(pbkdf2_sha512.using(rounds=1000).hash(pw))
print(scrypt.using(rounds=10).hash(pw))
print(argon2.using(type="ID", memory_cost=1024, rounds=2).hash(pw))
print(argon2.using(type="I", memory_cost=1024, rounds=2).hash(pw))
print(bcrypt.using(rounds=5).hash(pw))
print(bcrypt.using(rounds=5, ident="2a").hash(pw))
print(PasswordHasher(memory_cost=1024, time_cost=2).hash(pw))
b64 = lambda b: base64.b64encode(b).decode().rstrip("=")
salt = os.urandom(16)
print("$pbkdf2-sha512$i=1000$%s$%s" % (b64(salt), b64(hashlib.pbkdf2_hmac("sha512", pw.encode(), salt, 1000, 32))))
print("$scrypt$ln=12,r=4,p=2$%s$%s" % (b64(salt), b64(hashlib.scrypt(pw.encode(), salt=salt, n=4096, r=4, p=2, dklen=64))))
`)) {
			verifies(t, hasher, strings.TrimSpace(line), pw)
		}
	}
	pw := typed[1]
	for _, cfg := range []password.Config{{}, {Algorithm: password.Scrypt}, {Algorithm: password.Bcrypt, BcryptCost: 10}} {
		encoded, err := newHasher(t, cfg).Hash(t.Context(), pw)
		if err != nil {
			t.Fatal(err)
		}
		if got := run(t, encoded+"\n"+pw, python, "-c", `
import sys
from passlib.context import CryptContext
encoded, pw = sys.stdin.buffer.read().decode().split("\n", 1)
c = CryptContext(["argon2", "scrypt", "bcrypt"])
print(c.verify(pw, encoded), c.verify(pw + "x", encoded))
`); got != "True False\n" {
			t.Errorf("%v: passlib says %q of %s", cfg.Algorithm, got, encoded)
		}
	}
}

func newHasher(t *testing.T, cfg password.Config) *password.Hasher {
	t.Helper()
	h, err := password.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// verifies checks that encoded was made from pw, and from nothing else.
func verifies(t *testing.T, h *password.Hasher, encoded, pw string) {
	t.Helper()
	if rehash, err := h.Verify(t.Context(), encoded, pw); err != nil || !rehash {
		t.Errorf("%s of %q: got %v, %v, want a match that is to be hashed anew", encoded, pw, rehash, err)
	}
	if _, err := h.Verify(t.Context(), encoded, pw+"x"); !errors.Is(err, password.ErrMismatch) {
		t.Errorf("%s of another password than %q: got %v, want ErrMismatch", encoded, pw, err)
	}
}

// need ends the test where a program is not installed.
func need(t *testing.T, program, pkg string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		absent(t, program+" is not installed, of the package "+pkg)
	}
}

// run runs a program and returns what it prints.
func run(t *testing.T, stdin, program string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), answerTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdin = strings.NewReader(stdin)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", program, args, err, &stderr)
	}
	return string(out)
}
