package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/internal/pause"
	"github.com/ackwire/ackwire/loadtest/system"
)

// measuredSystem is a system whose processes are measured: one that was started for it, or a running one.
type measuredSystem struct {
	name      string // for people
	urls      []string
	processes []measuredProcess // with this one, which has the clients
	stops     []func()          // of what was started, in the order of starting
}

// startMeasured returns the running system of the configuration, or starts one, each part in its own process.
func startMeasured(ctx context.Context, cfg CapacityConfig) (s *measuredSystem, err error) {
	s = &measuredSystem{}
	switch {
	case len(cfg.URL) > 0:
		err = s.running(cfg)
	case len(cfg.Kafka.Brokers) > 0:
		err = s.onKafka(ctx, cfg)
	default:
		err = s.embedded(ctx, cfg)
	}
	for name, pid := range cfg.PID {
		s.processes = append(s.processes, measuredProcess{name: name, pid: pid})
	}
	s.processes = append(s.processes, measuredProcess{name: clientsName, pid: os.Getpid()})
	slices.SortStableFunc(s.processes, func(a, b measuredProcess) int { return cmp.Compare(a.name, b.name) })
	for i, p := range s.processes[1:] {
		if p.name == s.processes[i].name {
			err = errors.Join(err, fmt.Errorf("two processes have the name %s", p.name))
		}
	}
	if err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

// stop stops what was started, the last first.
func (s *measuredSystem) stop() {
	for _, stop := range slices.Backward(s.stops) {
		stop()
	}
}

func (s *measuredSystem) running(cfg CapacityConfig) error {
	s.name, s.urls = "the system at "+strings.Join(cfg.URL, ","), cfg.URL
	var token string
	if cfg.OpsTokenFile != "" {
		b, err := os.ReadFile(cfg.OpsTokenFile)
		if err != nil {
			return err
		}
		token, _, _ = strings.Cut(strings.TrimSpace(string(b)), "\n")
	}
	for name, ops := range cfg.Ops {
		s.processes = append(s.processes, measuredProcess{name: name, ops: ops, token: token})
	}
	return nil
}

// unbounded are the settings that let one user of a gateway have any load: all clients here are one.
var unbounded = []string{
	"--subject-sessions", "0", "--ask-rate", "0", "--tenant-jobs", "0", "--tenant-submit-rate", "0",
}

// embedded starts the whole system in one process.
func (s *measuredSystem) embedded(ctx context.Context, cfg CapacityConfig) error {
	s.name = "embedded broker and services in one process"
	addrs, dir, err := s.room(4)
	if err != nil {
		return err
	}
	s.urls = []string{"http://" + addrs[0]}
	args := slices.Concat([]string{
		"serve", "--data", dir, "--listen", addrs[0], "--tracker-listen", addrs[2], "--kafka-listen", addrs[3],
	}, unbounded)
	if cfg.AcksOnly {
		args = append(args, "--no-processor")
	}
	return s.start(ctx, "ackwire", addrs[1], cfg.Server, args...)
}

// onKafka starts each service as a process of its own.
func (s *measuredSystem) onKafka(ctx context.Context, cfg CapacityConfig) error {
	s.name = "Kafka at " + strings.Join(cfg.Kafka.Brokers, ",") + "; each service in a process of its own"
	addrs, dir, err := s.room(5)
	if err != nil {
		return err
	}
	s.urls = []string{"http://" + addrs[0]}
	common := append(kafkaFlags(cfg.Kafka), "--topic-prefix", fmt.Sprintf("bench%d.", time.Now().UnixNano()),
		"--partitions", fmt.Sprint(system.Partitions))
	start := func(name, ops, binary string, args ...string) error {
		return s.start(ctx, name, ops, binary, slices.Concat(common, args)...)
	}
	err = start("tracker", addrs[3], cfg.Tracker, "--data", filepath.Join(dir, "tracker"), "--tracker-listen", addrs[1])
	if err == nil {
		err = start("gateway", addrs[2], cfg.Gateway,
			slices.Concat([]string{"--listen", addrs[0], "--anonymous-tenant", "local"}, unbounded)...)
	}
	if err == nil && !cfg.AcksOnly {
		err = start("processor", addrs[4], cfg.Processor, "--demo", "--lanes", "default")
	}
	return err
}

// room returns free addresses and a folder, which is removed in the end.
func (s *measuredSystem) room(addrs int) ([]string, string, error) {
	free, err := system.FreeAddrs(addrs)
	if err != nil {
		return nil, "", err
	}
	dir, err := os.MkdirTemp("", "ackwire-capacity")
	if err != nil {
		return nil, "", err
	}
	s.stops = append(s.stops, func() { _ = os.RemoveAll(dir) })
	return free, dir, nil
}

// start starts a process and waits until it is ready.
func (s *measuredSystem) start(ctx context.Context, name, ops, binary string, args ...string) error {
	child := exec.CommandContext(ctx, binary,
		append(args, "--ops-listen", ops, "--debug-endpoints", "--log-level", "error")...)
	child.Stderr = os.Stderr
	if err := child.Start(); err != nil {
		return fmt.Errorf("start the %s: %w", name, err)
	}
	ended := make(chan struct{})
	go func() { _ = child.Wait(); close(ended) }()
	s.stops = append(s.stops, func() { _ = child.Process.Kill(); <-ended })
	s.processes = append(s.processes, measuredProcess{name: name, pid: child.Process.Pid, ops: "http://" + ops})

	waiting, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	go func() {
		select {
		case <-ended:
			cancel()
		case <-waiting.Done():
		}
	}()
	for !isReady(waiting, "http://"+ops+"/readyz") {
		if pause.For(waiting, 50*time.Millisecond) {
			continue
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return fmt.Errorf("the %s has ended, or is not ready after a minute", name)
	}
	return nil
}

func isReady(ctx context.Context, address string) bool {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return false
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return false
	}
	defer answer.Body.Close()
	_, _ = io.Copy(io.Discard, answer.Body)
	return answer.StatusCode == http.StatusOK
}

// kafkaFlags returns the flags that give a command this configuration of Kafka.
func kafkaFlags(cfg kafka.Config) []string {
	var flags []string
	var add func(v reflect.Value)
	add = func(v reflect.Value) {
		for i := range v.NumField() {
			name := v.Type().Field(i).Tag.Get("name")
			switch value := v.Field(i); {
			case value.IsZero():
			case name == "": // embedded
				add(value)
			case value.Kind() == reflect.Slice:
				flags = append(flags, "--"+name, strings.Join(value.Interface().([]string), ","))
			case value.Kind() == reflect.Bool:
				flags = append(flags, "--"+name)
			default:
				flags = append(flags, "--"+name, fmt.Sprint(value.Interface()))
			}
		}
	}
	add(reflect.ValueOf(cfg))
	return flags
}
