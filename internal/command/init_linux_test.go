package command

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// initRole says what a process of this test is: an init, its child, or neither.
const initRole = "ACKWIRE_TEST_INIT"

const prSetChildSubreaper = 36 // PR_SET_CHILD_SUBREAPER of prctl(2)

func init() {
	switch os.Getenv(initRole) {
	case "init":
		// As PID 1 is by itself: what loses its parent becomes this process's child.
		if _, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, prSetChildSubreaper, 1, 0); errno != 0 {
			panic(errno)
		}
		os.Exit(beInit(os.Args, []string{"PATH=" + os.Getenv("PATH"), initRole + "=child"}))
	case "child":
		terminated := make(chan os.Signal, 1)
		signal.Notify(terminated, syscall.SIGTERM)
		for range 5 { // each leaves a process behind that ends later
			if err := exec.Command("sh", "-c", "(sleep 0.2; exit 3) & exit 0").Run(); err != nil {
				panic(err)
			}
		}
		if err := exec.Command("sh", "-c", "exit 7").Run(); err == nil || err.Error() != "exit status 7" {
			panic(fmt.Sprint("a child's own command: ", err))
		}
		fmt.Println("ready")
		<-terminated
		os.Exit(42)
	}
}

// TestAnInitReapsOrphans, hands signals on, and ends as its child does; the child's own commands
// keep their exit codes.
func TestAnInitReapsOrphans(t *testing.T) {
	p := exec.Command(os.Args[0])
	p.Env = append(os.Environ(), initRole+"=init")
	out, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	ready := make([]byte, len("ready\n"))
	if _, err := out.Read(ready); err != nil || string(ready) != "ready\n" {
		t.Fatalf("%q %v", ready, err)
	}
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for len(childrenOf(t, p.Process.Pid)) != 1 {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("children of the init: %v, want its own child only", childrenOf(t, p.Process.Pid))
		}
	}
	if err := p.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(); err == nil || p.ProcessState.ExitCode() != 42 {
		t.Errorf("ended with %v, want the child's 42", err)
	}
}

// childrenOf lists a process's children, zombies included.
func childrenOf(t *testing.T, pid int) (children []string) {
	t.Helper()
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range lists {
		b, _ := os.ReadFile(path)
		children = append(children, strings.Fields(string(b))...)
	}
	return children
}
