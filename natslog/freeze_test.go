package natslog

import (
	"os"
	"syscall"
	"testing"
)

// freeze stops a process until the test has ended, and returns when it stands
// still.
func freeze(t *testing.T, process *os.Process) error {
	t.Helper()
	t.Cleanup(func() { _ = process.Signal(syscall.SIGCONT) }) // it may be gone
	if err := process.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	var status syscall.WaitStatus
	_, err := syscall.Wait4(process.Pid, &status, syscall.WUNTRACED, nil)
	return err
}
