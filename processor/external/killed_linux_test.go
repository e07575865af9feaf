package external_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ackwire/ackwire/processor"
	"github.com/ackwire/ackwire/processor/external"
)

// killedScript is set in the process that TestCommandsDieWithTheirProcessor kills.
const killedScript = "ACKWIRE_TEST_KILLED_SCRIPT"

// The process that is to be killed runs a command as a processor does, and no tests.
func init() {
	script := os.Getenv(killedScript)
	if script == "" {
		return
	}
	c, err := external.NewCommand([]string{"sh", "-c", script}, nil, "")
	if err != nil {
		panic(err)
	}
	_, err = c.Handle(context.Background(), &processor.Job{ID: "j", Log: slog.New(slog.DiscardHandler)}, nil)
	panic(fmt.Sprint("the command has ended: ", err))
}

// TestCommandsDieWithTheirProcessor: a processor that is killed by SIGKILL leaves no process of its
// commands, children and grandchildren included, that would run on beside the next attempt.
func TestCommandsDieWithTheirProcessor(t *testing.T) {
	pids := filepath.Join(t.TempDir(), "pids")
	// The last process writes the file: then all of them run.
	script := fmt.Sprintf(`trap '' TERM; (trap '' TERM; (trap '' TERM; echo $$ > %[1]s.0; sh -c 'echo $PPID $$' > %[1]s.tmp; mv %[1]s.tmp %[1]s; exec sleep 301) & sleep 302) & sleep 303`, pids)
	p := exec.Command(os.Args[0])
	p.Env = append(os.Environ(), killedScript+"="+script)
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "its processes run", func() bool { _, err := os.Stat(pids); return err == nil })
	var group string
	if b, err := os.ReadFile(pids + ".0"); err != nil {
		t.Fatal(err)
	} else {
		group = strings.TrimSpace(string(b))
	}
	if n := len(inGroup(t, group)); n < 3 {
		t.Fatalf("%d processes in the command's group", n)
	}
	if err := p.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = p.Wait()
	waitFor(t, "the command's processes are gone", func() bool { return len(inGroup(t, group)) == 0 })
}

// inGroup lists the processes of a group, except for zombies.
func inGroup(t *testing.T, group string) (pids []string) {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range stats {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		_, rest, _ := strings.Cut(string(b), ") ")
		if f := strings.Fields(rest); len(f) > 2 && f[0] != "Z" && f[2] == group {
			pids = append(pids, path)
		}
	}
	return pids
}

func waitFor(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%s: not within 30 s", what)
		}
	}
}

// TestOneGuardForAllCommands: there is one guard process, and a new one after it was killed.
func TestOneGuardForAllCommands(t *testing.T) {
	run := func() {
		t.Helper()
		if got := handle(t, t.Context(), command(t, `echo 1`), 0); string(got.Result) != "1" {
			t.Fatalf("%+v", got)
		}
	}
	// The kernel's list of children may miss one while threads come and go.
	one := func() (pid int) {
		t.Helper()
		waitFor(t, "there is one guard", func() bool {
			all := guards()
			if len(all) == 1 {
				pid = all[0]
			}
			return len(all) == 1
		})
		return pid
	}
	run()
	first := one()
	run()
	if again := one(); first != again {
		t.Fatalf("guard %d, then %d", first, again)
	}
	if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "it is gone", func() bool { return len(guards()) == 0 })
	// Its end of the pipe closes a little after the process has ended: until then writes to it succeed.
	waitFor(t, "a command has another one", func() bool {
		run()
		all := guards()
		return len(all) == 1 && all[0] != first
	})
}

// guards lists the guard processes of this one.
func guards() (pids []int) {
	children, _ := filepath.Glob("/proc/self/task/*/children")
	for _, path := range children {
		b, _ := os.ReadFile(path)
		for _, field := range strings.Fields(string(b)) {
			name, _ := os.ReadFile("/proc/" + field + "/cmdline")
			if strings.HasPrefix(string(name), "ackwire-command-guard") {
				pid, _ := strconv.Atoi(field)
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// TestReadOnlyDirectoriesAreRemoved, also by a user other than root, to whom modes apply.
func TestReadOnlyDirectoriesAreRemoved(t *testing.T) {
	parent := t.TempDir()
	outside := filepath.Join(parent, "outside")
	dir := filepath.Join(parent, "work")
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlock: the thread has another user's rights from here on
		done <- func() error {
			if os.Getuid() == 0 {
				for _, d := range []string{parent, filepath.Dir(parent)} {
					if err := os.Chmod(d, 0o777); err != nil {
						return err
					}
				}
				if _, _, errno := syscall.RawSyscall(syscall.SYS_SETFSUID, 65534, 0, 0); errno != 0 {
					return errno
				}
			}
			deep := filepath.Join(dir, "a", "b", "c")
			for _, d := range []string{deep, filepath.Join(outside, "d")} {
				if err := os.MkdirAll(d, 0o755); err != nil {
					return err
				}
			}
			if err := os.WriteFile(filepath.Join(deep, "f"), nil, 0o400); err != nil {
				return err
			}
			if err := os.Symlink(outside, filepath.Join(dir, "link")); err != nil {
				return err
			}
			for d, mode := range map[string]os.FileMode{outside: 0o555, deep: 0o500} {
				if err := os.Chmod(d, mode); err != nil {
					return err
				}
			}
			if err := os.Chmod(filepath.Join(dir, "a", "b"), 0); err != nil {
				return err
			}
			if err := os.Chmod(dir, 0o500); err != nil {
				return err
			}
			if os.RemoveAll(dir) == nil {
				return fmt.Errorf("the test proves nothing: it can be removed as it is")
			}
			return external.RemoveDir(dir)
		}()
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(dir); !os.IsNotExist(err) {
		t.Errorf("it is still there: %v", err)
	}
	if info, err := os.Stat(outside); err != nil || info.Mode().Perm() != 0o555 {
		t.Errorf("what a link leads to was changed: %v %v", info, err)
	}
}
