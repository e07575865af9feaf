package command

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// AsInit makes a process that runs as PID 1, as in a container, an init process: it starts its own program
// again as a child, forwards signals to it, reaps every process whose parent has died, and ends with the
// child's exit code. A Go program as PID 1 would leave orphans as zombies. In any other process it does
// nothing. main must call it first.
func AsInit() {
	if os.Getpid() == 1 {
		os.Exit(beInit(os.Args, os.Environ()))
	}
}

// exitSignalled is added to the number of a signal that ended the child, as shells do.
const exitSignalled = 128

// beInit runs this program as a child until it ends, and returns its exit code. It waits for every child
// process, so nothing else in this process may start one and wait for it.
func beInit(args, env []string) int {
	signals := make(chan os.Signal, 64)
	signal.Notify(signals)
	self, err := os.Executable()
	if err != nil {
		self = "/proc/self/exe"
	}
	child, err := os.StartProcess(self, args, &os.ProcAttr{Env: env, Files: []*os.File{os.Stdin, os.Stdout, os.Stderr}})
	if err != nil {
		fmt.Fprintln(os.Stderr, "start as a child of PID 1:", err)
		return ExitFailed
	}
	for s := range signals {
		switch s {
		case syscall.SIGCHLD:
			if code, ended := reap(child.Pid); ended {
				return code
			}
		case syscall.SIGURG: // the Go runtime sends it to itself
		default:
			_ = child.Signal(s)
		}
	}
	return ExitFailed
}

// reap collects all children that have ended. ended reports whether the one with pid was among them, and code
// is its exit code.
func reap(pid int) (code int, ended bool) {
	for {
		var status syscall.WaitStatus
		got, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		switch {
		case err == syscall.EINTR:
		case err != nil || got <= 0:
			return code, ended
		case got == pid && status.Signaled():
			code, ended = exitSignalled+int(status.Signal()), true
		case got == pid:
			code, ended = status.ExitStatus(), true
		}
	}
}
