package tracker

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// logSilence is how long the leader of an owned partition may leave open where it ends, which
// it is asked every second. A question may take ownedTimeout.
const logSilence = 6 * time.Second

// groupSilence is how long the consumer group may leave this member without an answer. A member
// that joins may have to wait for the others until a session timeout has passed.
func groupSilence(sessionTimeout time.Duration) time.Duration { return sessionTimeout + 5*time.Second }

// evidence is what the tracker's readiness rests on: when Kafka last answered what the tracker
// asks it all the time. A tracker that is cut off sees nothing fail, it only hears nothing.
type evidence struct {
	groupSilence time.Duration
	group        atomic.Int64 // when the group last answered, Unix nanoseconds; 0 before it has

	mu    sync.Mutex          // guards all below
	heard time.Time           // when any leader last told an end
	ends  map[int32]time.Time // of owned partitions: when the leader last told the end
	cause error               // why the last question was not answered whole
}

func newEvidence(groupSilence time.Duration) *evidence {
	return &evidence{groupSilence: groupSilence, ends: map[int32]time.Time{}}
}

// start begins the time in which Kafka must answer.
func (e *evidence) start(now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.heard = now
}

// began notes a partition that is owned from now on.
func (e *evidence) began(p int32, now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ends[p] = now
}

// ended notes one that is owned no longer.
func (e *evidence) ended(p int32) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.ends, p)
}

// told notes what leaders said of their ends.
func (e *evidence) told(ends map[int32]kadm.ListedOffset, err error, now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.cause = err
	for p, end := range ends {
		if end.Err != nil {
			e.cause = end.Err
			continue
		}
		e.heard = now
		if _, owned := e.ends[p]; owned {
			e.ends[p] = now
		}
	}
}

// err says what has been silent for too long.
func (e *evidence) err(now time.Time) error {
	if at := e.group.Load(); at != 0 {
		if silent := now.Sub(time.Unix(0, at)); silent > e.groupSilence {
			return fmt.Errorf("the consumer group has not answered for %s", silent.Round(time.Second))
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	// A tracker that is cut off for long has lost its partitions and owns none.
	if silent := now.Sub(e.heard); len(e.ends) == 0 && !e.heard.IsZero() && silent > logSilence {
		return e.because(fmt.Errorf("no answer from Kafka for %s to where status ends", silent.Round(time.Second)))
	}
	var silent []string
	oldest := now
	for _, p := range slices.Sorted(maps.Keys(e.ends)) {
		if at := e.ends[p]; now.Sub(at) > logSilence {
			silent = append(silent, fmt.Sprint(p))
			if at.Before(oldest) {
				oldest = at
			}
		}
	}
	if len(silent) == 0 {
		return nil
	}
	return e.because(fmt.Errorf("no answer from Kafka for %s to where status ends, in partition %s",
		now.Sub(oldest).Round(time.Second), strings.Join(silent, ", ")))
}

// because adds why the last question was not answered. e.mu is held.
func (e *evidence) because(err error) error {
	if e.cause != nil {
		return fmt.Errorf("%w: %w", err, e.cause)
	}
	return err
}

// groupHook notes each answer of the group's coordinator.
type groupHook struct{ evidence *evidence }

// OnBrokerE2E implements kgo.HookBrokerE2E.
func (h groupHook) OnBrokerE2E(_ kgo.BrokerMetadata, key int16, e2e kgo.BrokerE2E) {
	switch kmsg.Key(key) {
	case kmsg.Heartbeat, kmsg.JoinGroup, kmsg.SyncGroup:
		if e2e.Err() == nil {
			h.evidence.group.Store(time.Now().UnixNano())
		}
	}
}

// touchName is a file that is written and flushed to see whether the disk still does it.
const touchName = "disk-probe"

// touch writes a little to the folder's disk and waits until the disk has it.
func touch(fs vfs.FS, dir string) error {
	f, err := fs.Create(path.Join(dir, touchName), vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = io.WriteString(f, time.Now().UTC().Format(time.RFC3339Nano)+"\n")
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}
