package services

import "syscall"

// dieWithUs makes the system end the process when this process is killed and cannot do so.
func dieWithUs(attributes *syscall.SysProcAttr) { attributes.Pdeathsig = syscall.SIGKILL }
