package interop

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	installTimeout = 3 * time.Minute
	childTimeout   = 3 * time.Minute // of each process, whatever it does
	answerTimeout  = time.Minute
)

// nodeDir is where the scripts and their packages are.
const nodeDir = "node"

// installed installs the packages, unless they are there, and returns what is
// in the way.
var installed = sync.OnceValue(func() error {
	for _, name := range []string{"node", "npm"} {
		if _, err := exec.LookPath(name); err != nil {
			return fmt.Errorf("%s is not installed", name)
		}
	}
	version, err := exec.Command("node", "--version").Output()
	if err != nil {
		return fmt.Errorf("node --version: %w", err)
	}
	// What is older lacks crypto and URL.parse, which the packages use.
	var major, minor int
	if _, err := fmt.Sscanf(string(version), "v%d.%d.", &major, &minor); err != nil || major < 20 || major == 20 && minor < 19 {
		return fmt.Errorf("node is %s, and not 20.19 or later", bytes.TrimSpace(version))
	}
	lock, err := os.ReadFile(filepath.Join(nodeDir, "package-lock.json"))
	if err != nil {
		return err
	}
	// go test runs the tests anew if a file has changed that they have read.
	scripts, err := filepath.Glob(filepath.Join(nodeDir, "*.mjs"))
	if err != nil {
		return err
	}
	for _, name := range scripts {
		if _, err := os.ReadFile(name); err != nil {
			return err
		}
	}
	sum := sha256.Sum256(lock)
	want := hex.EncodeToString(sum[:])
	stamp := filepath.Join(nodeDir, "node_modules", ".installed")
	if got, err := os.ReadFile(stamp); err == nil && string(got) == want {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), installTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error")
	cmd.Dir = nodeDir
	cmd.WaitDelay = 5 * time.Second
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("npm ci: %w: %s", err, bytes.TrimSpace(out))
	}
	return os.WriteFile(stamp, []byte(want), 0o644)
})

// needNode ends the test where the programs of npm can't run.
func needNode(t *testing.T) {
	t.Helper()
	if err := installed(); err != nil {
		absent(t, err.Error())
	}
}

// absent ends a test that lacks what it runs: in CI nothing may be lacking.
func absent(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(what)
	}
	line, _, _ := strings.Cut(what, "\n")
	t.Skip(line)
}

// A peer is a running script that takes commands (see node/peer.mjs).
type peer struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	lines  chan []byte // of standard output; closed at its end
	stderr *syncBuffer
	cancel context.CancelFunc

	mu   sync.Mutex // for one command at a time
	once sync.Once  // for kill
}

// startPeer starts a script with these settings, and more in its environment,
// reads what it says when it is ready into ready, and ends it with the test.
func startPeer(t *testing.T, script string, settings, ready any, env ...string) *peer {
	t.Helper()
	needNode(t)
	encoded, err := json.Marshal(settings)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), childTimeout)
	p := &peer{cmd: nodeCommand(ctx, script), lines: make(chan []byte), stderr: new(syncBuffer), cancel: cancel}
	p.cmd.Env = append(p.cmd.Env, "PEER="+string(encoded))
	p.cmd.Env = append(p.cmd.Env, env...)
	p.cmd.Stderr = p.stderr
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.lines)
		r := bufio.NewReader(stdout)
		for {
			line, err := r.ReadBytes('\n')
			// Some programs greet their users here too.
			if err == nil && bytes.HasPrefix(line, []byte("{")) {
				select {
				case p.lines <- line:
				case <-ctx.Done():
					return
				}
			}
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("%s says: %s", script, p.stderr)
		}
	})
	p.read(t, ready)
	return p
}

// kill ends the process at once, as a crash would.
func (p *peer) kill() {
	p.once.Do(func() {
		p.cancel()
		_ = p.cmd.Wait()
	})
}

func (p *peer) read(t *testing.T, into any) {
	t.Helper()
	select {
	case line, ok := <-p.lines:
		if !ok {
			p.kill()
			t.Fatalf("%s ended: %s", p.cmd.Args, p.stderr)
		}
		if err := json.Unmarshal(line, into); err != nil {
			t.Fatalf("%s said %q: %v", p.cmd.Args, line, err)
		}
	case <-time.After(answerTimeout):
		t.Fatalf("%s says nothing: %s", p.cmd.Args, p.stderr)
	}
}

// call gives a command and reads its result into result, unless that is nil.
func (p *peer) call(t *testing.T, result any, command string, args ...any) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	line, err := json.Marshal(append([]any{command}, args...))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.stdin.Write(append(line, '\n')); err != nil {
		t.Fatalf("%s: %v: %s", p.cmd.Args, err, p.stderr)
	}
	var answer struct {
		Result json.RawMessage `json:"result"`
		Error  string          `json:"error"`
	}
	p.read(t, &answer)
	if answer.Error != "" {
		t.Fatalf("%s: %s: %s", p.cmd.Args, command, answer.Error)
	}
	if result == nil {
		return
	}
	if err := json.Unmarshal(answer.Result, result); err != nil {
		t.Fatal(err)
	}
}

// A step is something that a script has done, successfully or not.
type step struct {
	Name  string `json:"step"`
	Error string `json:"error"`
	Took  int    `json:"ms"`
}

// runSteps runs a script that does one step after the other with s (see
// node/steps.mjs), and makes a subtest of each. The script must have done
// exactly those that are wanted: one that ends early has not succeeded.
func runSteps(t *testing.T, script string, s *server, want ...string) {
	t.Helper()
	needNode(t)
	encoded, err := json.Marshal(s.settings())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), childTimeout)
	defer cancel()
	cmd := nodeCommand(ctx, script)
	cmd.Env = append(cmd.Env, "PEER="+string(encoded), "NODE_EXTRA_CA_CERTS="+s.file(t))
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Errorf("%s: %v: %s", script, err, &stderr)
	}
	done := make(map[string]bool)
	for line := range bytes.Lines(stdout.Bytes()) {
		var s step
		if err := json.Unmarshal(line, &s); err != nil {
			t.Fatalf("%s said %q: %v", script, line, err)
		}
		done[s.Name] = true
		t.Run(s.Name, func(t *testing.T) {
			t.Logf("took %d ms", s.Took)
			if s.Error != "" {
				t.Error(s.Error)
			}
		})
	}
	for _, name := range want {
		if !done[name] {
			t.Errorf("%s did not come to %q: %s", script, name, &stderr)
		}
		delete(done, name)
	}
	for name := range done {
		t.Errorf("%s did %q, which nobody asked for", script, name)
	}
}

// runScript runs a script and reads the one value that it prints into result.
func runScript(t *testing.T, script string, result any) {
	t.Helper()
	needNode(t)
	ctx, cancel := context.WithTimeout(t.Context(), childTimeout)
	defer cancel()
	out, err := nodeCommand(ctx, script).Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("%s: %v: %s", script, err, exit.Stderr)
		}
		t.Fatal(err)
	}
	if err := json.Unmarshal(out, result); err != nil {
		t.Fatalf("%s said %q: %v", script, out, err)
	}
}

// nodeCommand runs a script with nothing of this environment that could change
// where its requests go.
func nodeCommand(ctx context.Context, script string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "node", script)
	cmd.Dir = nodeDir
	cmd.WaitDelay = 5 * time.Second
	for _, one := range os.Environ() {
		name, _, _ := strings.Cut(one, "=")
		if lower := strings.ToLower(name); strings.HasSuffix(lower, "_proxy") || strings.HasPrefix(name, "NODE_") {
			continue
		}
		cmd.Env = append(cmd.Env, one)
	}
	return cmd
}

// A syncBuffer is a bytes.Buffer that may be read while it is written.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
