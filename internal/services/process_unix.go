//go:build unix

package services

import (
	"os"
	"os/exec"
	"syscall"
)

// isolate gives the command a separate process group.
func isolate(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	dieWithUs(cmd.SysProcAttr)
}

func askToEnd(p *os.Process) {
	_ = p.Signal(syscall.SIGTERM) // it fails if the process has ended already
}

// end kills all processes of the group.
func end(p *os.Process) {
	_ = syscall.Kill(-p.Pid, syscall.SIGKILL) // it fails if no process is left
}

// Signal sends a signal to the server and its child processes.
func (s *Server) Signal(signal syscall.Signal) {
	_ = syscall.Kill(-s.process.cmd.Process.Pid, signal) // it fails if no process is left
}
