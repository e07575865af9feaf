package history

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/ackwire/ackwire/schemas/job"
)

const (
	bufferBytes  = 256 << 10
	maxLineBytes = 64 << 10
)

// Writer appends records to a file. It may be used from any goroutine: records are in the file in the order of the
// calls to Add.
type Writer struct {
	began time.Time

	mu      sync.Mutex // guards all below
	file    *os.File
	out     *bufio.Writer
	line    []byte
	records int64
	err     error // the first that a write met
}

// Create creates the file and writes its first record.
func Create(name, scenario string, endsWithin, deliverWithin time.Duration) (*Writer, error) {
	f, err := os.Create(name)
	if err != nil {
		return nil, fmt.Errorf("history: %w", err)
	}
	w := &Writer{began: time.Now(), file: f, out: bufio.NewWriterSize(f, bufferBytes)}
	w.Add(Record{Kind: Run, Run: &Header{
		Format: Format, Scenario: scenario, Began: w.began.UTC(),
		EndsWithin: job.Seconds(endsWithin), DeliverWithin: job.Seconds(deliverWithin),
	}})
	return w, nil
}

// Add appends a record; its time is now.
func (w *Writer) Add(r Record) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r.At = time.Since(w.began).Microseconds()
	w.line = r.append(w.line[:0])
	w.records++
	if _, err := w.out.Write(w.line); err != nil && w.err == nil {
		w.err = fmt.Errorf("history: %w", err)
	}
}

// Began returns the time from which the times of records count.
func (w *Writer) Began() time.Time { return w.began }

// Records returns the number of records that were added.
func (w *Writer) Records() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.records
}

// Flush writes everything to the operating system. The error is the first of any write.
func (w *Writer) Flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.out.Flush(); err != nil && w.err == nil {
		w.err = fmt.Errorf("history: %w", err)
	}
	return w.err
}

// Close flushes and closes the file.
func (w *Writer) Close() error {
	err := w.Flush()
	return errors.Join(err, w.file.Close())
}

// Read calls each with every record of a file, in order, until it returns false. An incomplete last line, left by a
// generator that was killed, is ignored.
func Read(name string, each func(Record) bool) error {
	f, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("history: %w", err)
	}
	defer f.Close()
	in := bufio.NewReaderSize(f, maxLineBytes)
	for n := 1; ; n++ {
		line, err := in.ReadSlice('\n')
		switch {
		case err == io.EOF:
			return nil // the end of the file, or an incomplete last line
		case err != nil:
			return fmt.Errorf("history: %s:%d: %w", name, n, err)
		}
		var r Record
		if err := json.Unmarshal(line, &r); err != nil {
			return fmt.Errorf("history: %s:%d: %w", name, n, err)
		}
		if r.Kind == "" {
			return fmt.Errorf("history: %s:%d: a record of no kind", name, n)
		}
		if n == 1 && (r.Kind != Run || r.Run == nil) {
			return fmt.Errorf("history: %s: does not begin with a run", name)
		}
		if n == 1 && r.Run.Format != Format {
			return fmt.Errorf("history: %s: has format %d, this program reads %d", name, r.Run.Format, Format)
		}
		if !each(r) {
			return nil
		}
	}
}
