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

// A processor that is killed (SIGKILL, out of memory) cannot end the commands that it runs. Each
// command's own process is sent SIGKILL by the kernel then. Its children are not, so one guard
// process beside the processor knows the process groups of all commands and kills them when the
// pipe to the processor breaks. A process that has left its command's group escapes both.

// guardName is the guard's argv[0]: the processor's own program, started again.
const guardName = "ackwire-command-guard"

func init() {
	if os.Args[0] == guardName {
		watchOver(os.Stdin)
		os.Exit(0)
	}
}

// watchOver keeps the process groups that are told as "+PGID", forgets those told as "-PGID", and
// kills what it has at the end of the input.
func watchOver(told *os.File) {
	signal.Ignore(os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	groups := map[int]struct{}{}
	for lines := bufio.NewScanner(told); lines.Scan(); {
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

// guard is the guard process of this one. It is started with the first command, and ends with this
// process.
var guard struct {
	mu     sync.Mutex // guards the rest
	cmd    *exec.Cmd  // nil when there is none
	pipe   *os.File   // to it
	groups map[int]struct{}
}

// watch tells the guard of a command's process group; the function that it returns, that it has
// ended.
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
			_, _ = fmt.Fprintf(guard.pipe, "-%d\n", pgid) // one that is gone is replaced by the next command
		}
	}
	if guard.cmd != nil {
		if _, err = fmt.Fprintf(guard.pipe, "+%d\n", pgid); err == nil {
			return ended, nil
		}
		// Somebody has killed it.
		_ = guard.pipe.Close()
		_ = guard.cmd.Wait()
		guard.cmd = nil
	}
	return ended, startGuard()
}

// startGuard starts one that knows all groups. It is called with guard.mu held.
func startGuard() error {
	read, write, err := os.Pipe() // no process that is started from here has its ends but the guard
	if err != nil {
		return fmt.Errorf("start the guard of commands: %w", err)
	}
	defer func() { _ = read.Close() }()
	cmd := &exec.Cmd{
		Path: "/proc/self/exe", Args: []string{guardName}, Stdin: read, Env: []string{},
		SysProcAttr: &syscall.SysProcAttr{Setpgid: true}, // no signal to the processor's group reaches it
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

// attributes are those of a command's process: a group of its own, and SIGKILL when the thread ends
// that started it, so the caller holds on to its thread.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
