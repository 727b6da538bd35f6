// Package proctest runs the servers of tests, so that none outlives the test binary,
// however that ends. It needs sh and kill.
package proctest

import (
	"bytes"
	"os"
	"os/exec"
	"strconv"
	"time"
)

// A Process is one that Start has started.
type Process struct {
	// Exited is closed when the process has ended.
	Exited <-chan struct{}

	cmd, guard *exec.Cmd
	output     bytes.Buffer
}

// Start starts cmd. If this process ends before [Process.End] was called, a guard sends
// the signal of that name, "9" or "QUIT".
func Start(cmd *exec.Cmd, signal string) (*Process, error) {
	exited := make(chan struct{})
	p := &Process{Exited: exited, cmd: cmd}
	cmd.Stdout, cmd.Stderr = &p.output, &p.output
	cmd.WaitDelay = time.Second // its children hold the pipe a moment longer when it is killed
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = cmd.Wait()
		close(exited)
	}()
	p.guard = exec.Command("sh", "-c", `read -r line; kill -"$2" "$1"`, "sh", strconv.Itoa(cmd.Process.Pid), signal) //nolint:gosec // our own process
	_, err := p.guard.StdinPipe()                                                                                    // which closes when this process ends
	if err == nil {
		err = p.guard.Start()
	}
	if err != nil {
		_ = cmd.Process.Kill()
		<-exited
		return nil, err
	}
	return p, nil
}

// End sends a signal, and waits until the process has ended.
func (p *Process) End(signal os.Signal) {
	// The guard goes first: when the process is gone its id may be another's.
	_ = p.guard.Process.Kill()
	_ = p.guard.Wait()
	_ = p.cmd.Process.Signal(signal)
	<-p.Exited
}

// Signal sends a signal, such as syscall.SIGSTOP, and does not wait.
func (p *Process) Signal(signal os.Signal) error { return p.cmd.Process.Signal(signal) }

// Output returns what the process has printed. It is complete, and safe to be called,
// when Exited is closed.
func (p *Process) Output() string { return p.output.String() }
