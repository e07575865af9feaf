//go:build unix

package external

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/time/rate"

	"github.com/ackwire/ackwire/internal/service"
	"github.com/ackwire/ackwire/internal/tracing"
	"github.com/ackwire/ackwire/processor"
	"github.com/ackwire/ackwire/processor/internal/bridge"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/strict"
	"github.com/ackwire/ackwire/schemas/text"
)

// Command is a program that handles jobs and is started for each: the payload is its stdin, each line of its stdout
// is a message about the run, and its exit code classifies a failure.
type Command struct {
	argv []string
	env  []string // names of the processor's environment variables that are passed on
	dir  string   // working directory; empty for a new one per job
}

// Bounds of a command's output.
const (
	maxStderrLine  = 4 << 10
	stderrPerSec   = 100 // lines logged
	stderrBurst    = 200
	maxStderrError = 512 // bytes of the last line that become an error's message
)

// NewCommand returns a command. argv is the program and its arguments. Its environment is PATH, LANG, TZ, HOME (its
// working directory), ACKWIRE_JOB_…, and the variables that env names. It runs in dir or, if that is empty, in a new
// directory for each job, which is removed afterwards.
func NewCommand(argv []string, env []string, dir string) (*Command, error) {
	if len(argv) == 0 || argv[0] == "" {
		return nil, errors.New("no command")
	}
	program, err := exec.LookPath(argv[0])
	if err != nil {
		return nil, err
	}
	if dir != "" {
		if info, err := os.Stat(dir); err != nil {
			return nil, err
		} else if !info.IsDir() {
			return nil, fmt.Errorf("%s is not a directory", dir)
		}
	}
	return &Command{argv: append([]string{program}, argv[1:]...), env: env, dir: dir}, nil
}

// Exit codes of sysexits.h: those from exUsage to exConfig are permanent failures, except for exTempFail. All others
// are retryable.
const (
	exUsage    = 64
	exTempFail = 75
	exConfig   = 78
)

// Handle is a processor.RawHandler. When ctx ends, the command's whole process group is sent SIGTERM and, 2 s later,
// SIGKILL. Processes of the group that are left when the command ends are killed. On Linux the group is also killed
// when this process is killed.
func (c *Command) Handle(ctx context.Context, j *processor.Job, payload []byte) (json.RawMessage, error) {
	dir := c.dir
	if dir == "" {
		var err error
		if dir, err = os.MkdirTemp("", "ackwire-job-"); err != nil {
			return nil, notStarted(fmt.Errorf("make the command's directory: %w", err))
		}
		defer func() {
			if err := removeDir(dir); err != nil {
				bridge.WorkerLog(j).Warn("a command's directory could not be removed", "err", err)
			}
		}()
	}
	run, stop := context.WithCancel(ctx)
	defer stop()
	out := &stdout{job: j, stop: stop}
	log := &stderr{log: j.Log, limit: rate.NewLimiter(stderrPerSec, stderrBurst)}
	cmd := exec.CommandContext(run, c.argv[0], c.argv[1:]...)
	cmd.Dir, cmd.Env = dir, append(c.environment(j, dir), tracing.Environ(ctx)...)
	said, err := newOutput(&lines{take: out.line, max: MaxResult})
	if err != nil {
		return nil, notStarted(fmt.Errorf("make a pipe for the command's output: %w", err))
	}
	defer said.close()
	cmd.Stdin, cmd.Stdout = bytes.NewReader(payload), said.command
	cmd.Stderr = &lines{take: log.line, max: maxStderrLine, cut: true}
	cmd.SysProcAttr = attributes()
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = grace
	// The kernel kills the command when the thread that started it ends (Pdeathsig), so keep that thread.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, notStarted(fmt.Errorf("start the command: %w", err))
	}
	said.begin()
	ended, err := watch(cmd.Process.Pid)
	if err != nil {
		bridge.WorkerLog(j).Warn("if this process is killed, the command's child processes will not be", "err", err)
	}
	_ = cmd.Wait()                                      // ProcessState says more than the error
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // processes that it has left behind
	ended()
	said.finish()
	cmd.Stderr.(*lines).flush()
	if ctx.Err() != nil && out.failure == nil && !cmd.ProcessState.Success() {
		return nil, context.Cause(ctx)
	}
	return outcome(cmd.ProcessState, out, log)
}

// notStarted returns the error of a command that this worker cannot start: the program is missing or not executable, or
// the system has no resources for a process. The job is handed back.
func notStarted(err error) error {
	return processor.Unable(processor.WithCode(processor.CodeCommandNotStarted, err))
}

// outcome returns the result or the error of a command that has ended, from its messages and its exit code.
func outcome(state *os.ProcessState, out *stdout, log *stderr) (json.RawMessage, error) {
	switch {
	case out.err != nil:
		return nil, out.err
	case out.failure != nil:
		return nil, out.failure.err(end{code: "command_failed", permanent: permanentExit(state.ExitCode())})
	case state.Success():
		return out.result, nil // a grandchild that held stdout open (exec.ErrWaitDelay) does not matter
	}
	message := log.last
	if message == "" {
		message = "the command ended with " + state.String()
	}
	code := state.ExitCode()
	if code < 0 {
		return nil, processor.WithCode("command_killed", errors.New(message))
	}
	failed := errors.New(message)
	if permanentExit(code) {
		failed = processor.Permanent(failed)
	}
	return nil, processor.WithCode("exit_"+strconv.Itoa(code), failed)
}

func permanentExit(code int) bool { return code >= exUsage && code <= exConfig && code != exTempFail }

// environment returns the command's environment. The names of the variables about the job are reserved: no Ackwire
// program that the command starts reads them as settings.
func (c *Command) environment(j *processor.Job, dir string) []string {
	env := []string{"HOME=" + dir}
	for _, name := range append([]string{"PATH", "LANG", "TZ"}, c.env...) {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	for _, v := range []struct{ name, value string }{
		{"ID", j.ID}, {"TYPE", j.Type},
		{"ATTEMPT", strconv.Itoa(j.Attempt)}, {"MAX_ATTEMPTS", strconv.Itoa(j.MaxAttempts)},
		{"DISPATCH", strconv.Itoa(j.Dispatch)}, {"RUN", j.Run},
		{"TENANT", j.Tenant}, {"SUBJECT", j.Subject}, {"TAGS", tagsText(j)},
	} {
		env = append(env, service.JobVariables+v.name+"="+v.value)
	}
	return env
}

// lines is an io.Writer that splits its input into lines and passes them to take. A line of more than max bytes is cut
// or, without cut, passed as nil.
type lines struct {
	take func(line []byte)
	max  int
	cut  bool

	buf  []byte // the line so far
	long bool   // the line is longer than max
}

// Write implements io.Writer.
func (l *lines) Write(b []byte) (int, error) {
	n := len(b)
	for len(b) > 0 {
		line, rest, whole := bytes.Cut(b, []byte{'\n'})
		if room := l.max - len(l.buf); len(line) > room {
			l.long = true
			line = line[:max(room, 0)]
		}
		l.buf = append(l.buf, line...)
		if whole {
			l.flush()
		}
		b = rest
	}
	return n, nil
}

// flush passes on the line so far, which may lack its newline.
func (l *lines) flush() {
	if len(l.buf) > 0 || l.long {
		if l.long && !l.cut {
			l.take(nil)
		} else {
			l.take(l.buf)
		}
	}
	l.buf, l.long = l.buf[:0], false
}

// stdout reads the command's messages.
type stdout struct {
	job  *processor.Job
	stop func() // ends the command

	result  json.RawMessage // the last one
	failure *failure        // the last one
	err     error           // of a line that is not valid
}

func (o *stdout) line(b []byte) {
	if o.err != nil {
		return
	}
	if b == nil {
		o.fail(errTooLarge)
		return
	}
	b = bytes.TrimSpace(b)
	if len(b) == 0 {
		return
	}
	if err := strict.Check(b); err != nil {
		o.fail(invalidResult("a line of the command's output %w: %.80q", err, b))
		return
	}
	w, ok, err := parseWord(b)
	switch {
	case err != nil && processor.CodeOf(err) == job.CodeInvalidStream:
		o.fail(err)
	case err != nil:
		o.fail(invalidResult("a line of the command's output could not be read: %w", err))
	case !ok:
		o.result = bytes.Clone(b)
	case w.Progress != nil:
		if err := w.Progress.tell(o.job); err != nil {
			o.fail(err)
		}
	case w.Chunk != nil:
		if err := w.Chunk.write(o.job); err != nil {
			o.fail(err)
		}
	case w.Error != nil:
		o.failure = w.Error
	default:
		o.result = w.Result
	}
}

// fail ends a command whose output is not valid.
func (o *stdout) fail(err error) {
	o.err = err
	o.stop()
}

// stderr logs the command's error output. Its last line becomes a failure's message.
type stderr struct {
	log   *slog.Logger
	limit *rate.Limiter
	last  string
}

func (s *stderr) line(b []byte) {
	line := strings.TrimSpace(strings.ToValidUTF8(string(b), "\uFFFD"))
	if line == "" {
		return
	}
	s.last = text.Clip(line, maxStderrError)
	if s.limit.AllowN(time.Now(), 1) {
		s.log.Info("command output", "stderr", line)
	}
}
