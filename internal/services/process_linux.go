package services

import "syscall"

// dieWithUs ends the process when this one is killed and so cannot end it.
func dieWithUs(attributes *syscall.SysProcAttr) { attributes.Pdeathsig = syscall.SIGKILL }
