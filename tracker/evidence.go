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

	"github.com/ackwire/ackwire/internal/kafka"
)

// evidence records when Kafka last answered this tracker, which decides whether the tracker is ready.
// A tracker that the network cuts off gets no errors, only no answers, so it is silence that counts.
type evidence struct {
	// logSilence is how long the leader of an owned partition may fail to tell the partition's end offset before the
	// tracker is not ready. It is asked every endsInterval.
	logSilence time.Duration
	// groupSilence is the same for the group's coordinator. It is longer than a session timeout, for a member that
	// joins waits so long for members that are gone.
	groupSilence time.Duration

	group atomic.Int64 // when the group last answered, Unix nanoseconds; 0 before it has

	mu    sync.Mutex          // guards all below
	heard time.Time           // when any leader last told an end offset
	ends  map[int32]time.Time // by owned partition: when its leader last told the end offset
	cause error               // why the last question got no full answer; nil if it did
}

func newEvidence(b kafka.Bounds) *evidence {
	return &evidence{logSilence: b.Silence, groupSilence: b.Group, ends: map[int32]time.Time{}}
}

// start notes when the tracker began to ask Kafka.
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

// ended notes a partition that is no longer owned.
func (e *evidence) ended(p int32) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.ends, p)
}

// told notes the end offsets that leaders answered, and the error of the question.
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

// err returns which part of Kafka has been silent for too long, or nil.
func (e *evidence) err(now time.Time) error {
	if at := e.group.Load(); at != 0 {
		if silent := now.Sub(time.Unix(0, at)); silent > e.groupSilence {
			return fmt.Errorf("the consumer group has not answered for %s", silent.Round(time.Second))
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	// A tracker that is cut off for long has lost its partitions and owns none.
	if silent := now.Sub(e.heard); len(e.ends) == 0 && !e.heard.IsZero() && silent > e.logSilence {
		return e.because(fmt.Errorf("no answer from Kafka for %s to where status ends", silent.Round(time.Second)))
	}
	var silent []string
	oldest := now
	for _, p := range slices.Sorted(maps.Keys(e.ends)) {
		if at := e.ends[p]; now.Sub(at) > e.logSilence {
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

// because adds the cause of the last question's failure to err. e.mu is held.
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

// touchName is the file that is written and synced to check that the disk still works.
const touchName = "disk-probe"

// touch writes a few bytes to a file in the folder and syncs it.
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
