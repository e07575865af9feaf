// Package certs reads certificates, private keys and secrets from files, and reads them again when the files change,
// so that they can be renewed without a restart.
package certs

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Bounds of reading files.
const (
	checkInterval = time.Second // how often files are looked at while they are used
	maxFile       = 1 << 20     // the largest file that is read, in bytes
)

// Env is where a source logs and registers its metrics.
type Env struct {
	Log     *slog.Logger
	Metrics prometheus.Registerer // nil for a program without metrics
}

// Parsed is what the content of files means.
type Parsed[T any] struct {
	Value T
	Ends  time.Time // when its certificate ends; zero if it has none
}

// Source is the value of a setting that names one or several files, such as a certificate and its key.
//
// The files are read again when they are used, at most once a second, and compared with what was read before. If their
// new content cannot be used, the old value stays in use, the error is logged, and the metric file_unusable is 1. No
// goroutine is needed, and no notice from the file system, which volumes of Kubernetes do not give reliably.
type Source[T any] struct {
	// Set by Open, then only read.
	setting string
	names   []string
	parse   func(contents [][]byte) (Parsed[T], error)
	log     *slog.Logger

	value   atomic.Pointer[Parsed[T]] // in use
	err     atomic.Pointer[error]     // why the files' present content is not used; nil while it is
	checked atomic.Int64              // when the files were last looked at, Unix nanoseconds

	mu      sync.Mutex // guards the fields below; held while files are read
	content [][]byte   // of the value in use
	refused [][]byte   // content that cannot be used
	times   int        // in a row that refused was found
}

// Open reads the files of a setting. Its error names the setting and the file. Parts of a process that share a registry
// share the source of a setting, too: then Open returns the one that is there, whatever the files' content is now.
func Open[T any](
	env Env, setting string, names []string, parse func(contents [][]byte) (Parsed[T], error),
) (*Source[T], error) {
	var all *collector
	if env.Metrics != nil {
		var err error
		if all, err = collectorOf(env.Metrics); err != nil {
			return nil, err
		}
		if have, ok := find[T](all, setting, names); ok {
			return have, nil
		}
	}
	s := &Source[T]{setting: setting, names: names, parse: parse, log: env.Log}
	content, err := s.read()
	if err != nil {
		return nil, err
	}
	value, err := s.parsed(content)
	if err != nil {
		return nil, err
	}
	s.content = content
	s.value.Store(&value)
	s.checked.Store(time.Now().UnixNano())
	if all != nil {
		all.add(s)
	}
	return s, nil
}

// Get returns the value by the files' latest content that can be used.
func (s *Source[T]) Get() T {
	s.check()
	return s.value.Load().Value
}

// Expire makes the next use look at the files, even within a second: for a caller that has learnt that the value in use
// is wrong.
func (s *Source[T]) Expire() { s.checked.Store(0) }

// Err returns why the files' present content is not used; nil while it is.
func (s *Source[T]) Err() error {
	s.check()
	if err := s.err.Load(); err != nil {
		return *err
	}
	return nil
}

// Files returns the names of the files.
func (s *Source[T]) Files() []string { return s.names }

// Setting returns the name of the setting.
func (s *Source[T]) Setting() string { return s.setting }

// Ends returns when the certificate in use ends; zero if there is none.
func (s *Source[T]) Ends() time.Time {
	s.check()
	return s.value.Load().Ends
}

// check reads the files again if that was not done within checkInterval. While one caller reads, others do not wait for
// it, but use the old value.
func (s *Source[T]) check() {
	now := time.Now()
	if now.Sub(time.Unix(0, s.checked.Load())).Abs() < checkInterval || !s.mu.TryLock() {
		return
	}
	defer s.mu.Unlock()
	s.checked.Store(now.UnixNano())
	content, err := s.read()
	if err == nil && same(content, s.content) {
		s.mended()
		return
	}
	var value Parsed[T]
	if err == nil {
		value, err = s.parsed(content)
	}
	if err != nil {
		s.unusable(content, err)
		return
	}
	s.content = content
	s.value.Store(&value)
	s.mended()
	s.log.Info("file read again", "setting", s.setting, "files", strings.Join(s.names, ", "))
}

// mended records that the files' content is in use. s.mu is held.
func (s *Source[T]) mended() {
	s.refused, s.times = nil, 0
	s.err.Store(nil)
}

// unusable records an error of the files' content, nil if they could not be read. Files that belong together, such as a
// certificate and its key, are seldom replaced in the same instant: so content counts as unusable when it is found
// twice. s.mu is held.
func (s *Source[T]) unusable(content [][]byte, err error) {
	if s.times == 0 || !same(content, s.refused) {
		s.refused, s.times = content, 0
	}
	s.times++
	if s.times < 2 {
		return
	}
	if last := s.err.Load(); last == nil || (*last).Error() != err.Error() {
		s.log.Error("file cannot be used, what was read before stays in use", "setting", s.setting, "err", err)
	}
	s.err.Store(&err)
}

// read returns the content of the files.
func (s *Source[T]) read() ([][]byte, error) {
	content := make([][]byte, len(s.names))
	for i, name := range s.names {
		info, err := os.Stat(name)
		if err == nil && info.Size() > maxFile {
			err = fmt.Errorf("%s has %d bytes, at most %d are read", name, info.Size(), maxFile)
		}
		if err == nil {
			content[i], err = os.ReadFile(name)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.setting, err)
		}
	}
	return content, nil
}

// parsed parses content; its error names the setting and the files.
func (s *Source[T]) parsed(content [][]byte) (Parsed[T], error) {
	value, err := s.parse(content)
	if err != nil {
		err = fmt.Errorf("%s: %s: %w", s.setting, strings.Join(s.names, ", "), err)
	}
	return value, err
}

func same(a, b [][]byte) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !bytes.Equal(a[i], b[i]) {
			return false
		}
	}
	return true
}
