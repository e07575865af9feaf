package external

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// A processor that is killed (SIGKILL, out of memory) cannot end the commands that it runs. The kernel then sends
// SIGKILL to each command's own process (Pdeathsig), but not to its children. So the processor starts one guard
// process, which knows the process groups of all commands and kills them when the pipe to the processor breaks. A
// process that has left its command's group is not killed.

// guardName is argv[0] of the guard process, which runs the processor's own program.
const guardName = "ackwire-command-guard"

func init() {
	if os.Args[0] == guardName {
		watchOver(os.Stdin)
		os.Exit(0)
	}
}

// watchOver is the guard process. It reads lines: "+PGID" adds a process group and "-PGID" removes one. At the end of
// the input it kills the groups that are left.
func watchOver(input *os.File) {
	signal.Ignore(os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	groups := map[int]struct{}{}
	for lines := bufio.NewScanner(input); lines.Scan(); {
		pgid, err := strconv.Atoi(strings.TrimLeft(lines.Text(), "+-"))
		switch {
		case err != nil || pgid <= 1:
		case lines.Text()[0] == '+':
			groups[pgid] = struct{}{}
		default:
			delete(groups, pgid)
		}
	}
	for pgid := range groups {
		_ = syscall.Kill(-pgid, syscall.SIGKILL)
	}
}

// guard is the guard process of this process. It is started with the first command, and ends with this process.
var guard struct {
	mu     sync.Mutex       // guards the rest
	cmd    *exec.Cmd        // nil while it does not run
	pipe   *os.File         // to its stdin
	groups map[int]struct{} // of the commands that run
}

// watch adds a command's process group to the guard. Call ended when the command has ended.
func watch(pgid int) (ended func(), err error) {
	guard.mu.Lock()
	defer guard.mu.Unlock()
	if guard.groups == nil {
		guard.groups = map[int]struct{}{}
	}
	guard.groups[pgid] = struct{}{}
	ended = func() {
		guard.mu.Lock()
		defer guard.mu.Unlock()
		delete(guard.groups, pgid)
		if guard.cmd != nil {
			_, _ = fmt.Fprintf(guard.pipe, "-%d\n", pgid) // on an error the next watch starts a new guard
		}
	}
	if guard.cmd != nil {
		if _, err = fmt.Fprintf(guard.pipe, "+%d\n", pgid); err == nil {
			return ended, nil
		}
		// The guard was killed: start another one.
		_ = guard.pipe.Close()
		_ = guard.cmd.Wait()
		guard.cmd = nil
	}
	return ended, startGuard()
}

// startGuard starts a guard process and tells it all groups. It is called with guard.mu held.
func startGuard() error {
	read, write, err := os.Pipe() // close-on-exec: only the guard inherits the read end
	if err != nil {
		return fmt.Errorf("start the guard of commands: %w", err)
	}
	defer func() { _ = read.Close() }()
	cmd := &exec.Cmd{
		Path: "/proc/self/exe", Args: []string{guardName}, Stdin: read, Env: []string{},
		SysProcAttr: &syscall.SysProcAttr{Setpgid: true}, // signals to the processor's group do not reach it
	}
	if err := cmd.Start(); err != nil {
		_ = write.Close()
		return fmt.Errorf("start the guard of commands: %w", err)
	}
	for pgid := range guard.groups {
		if _, err := fmt.Fprintf(write, "+%d\n", pgid); err != nil {
			_ = write.Close()
			_ = cmd.Wait()
			return fmt.Errorf("tell the guard of commands: %w", err)
		}
	}
	guard.cmd, guard.pipe = cmd, write
	return nil
}

// attributes returns the attributes of a command's process: it has a process group of its own, and gets SIGKILL when
// the thread that started it ends. So the caller must lock its thread.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
