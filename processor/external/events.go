package external

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/ackwire/ackwire/processor"
	"github.com/ackwire/ackwire/schemas/strict"
)

// eventStream is the media type of an answer that is given piece by piece (Server-Sent Events, WHATWG HTML §9.2).
const eventStream = "text/event-stream"

// maxEvents bounds the events of one answer that carry nothing that is bounded elsewhere, such as progress.
const maxEvents = 1 << 20

// events reads an endpoint's answer of events: progress and chunk, whose data are the objects of a callback's progress
// and chunk, then result or error. Others are ignored. A line and an event's data have at most MaxResult bytes.
type events struct {
	job   *processor.Job
	side  *writeSide // where the endpoint may also write; nil if it cannot
	name  string
	data  []byte
	lines int // of data
}

// brokenOff is the error of an answer that ends before a result or an error has come.
type brokenOff struct{ error }

func (b brokenOff) Unwrap() error { return b.error }

// outcome reads until a result or an error comes.
func (e *events) outcome(body io.Reader, status int) (json.RawMessage, error) {
	scanner := bufio.NewScanner(body)
	scanner.Buffer(nil, MaxResult+len("data: \r\n"))
	scanner.Split(splitLines())
	count := 0
	for first := true; scanner.Scan(); first = false {
		line := scanner.Bytes()
		if first {
			line = bytes.TrimPrefix(line, []byte("\uFEFF"))
		}
		if len(line) > 0 {
			if err := e.field(line); err != nil {
				return nil, err
			}
			continue
		}
		if e.name != "chunk" {
			count++
		}
		if count > maxEvents {
			return nil, invalidResult("the endpoint answered with more than %d events", maxEvents)
		}
		result, done, err := e.event(status)
		if done || err != nil {
			return result, err
		}
	}
	switch err := scanner.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return nil, errTooLarge
	case err != nil:
		return nil, brokenOff{err}
	}
	return nil, brokenOff{errors.New("it ended before a result or an error")}
}

// field takes a line that is not empty.
func (e *events) field(line []byte) error {
	name, value, _ := bytes.Cut(line, []byte(":"))
	value = bytes.TrimPrefix(value, []byte(" "))
	switch string(name) {
	case "event":
		e.name = string(value[:min(len(value), maxEventName)])
	case "data":
		if len(e.data)+len(value)+1 > MaxResult {
			return errTooLarge
		}
		if e.lines > 0 {
			e.data = append(e.data, '\n')
		}
		e.data = append(e.data, value...)
		e.lines++
	}
	return nil
}

const maxEventName = 64

// event takes the event whose lines have come. done is set by a result and by an error.
func (e *events) event(status int) (result json.RawMessage, done bool, err error) {
	name, data := e.name, e.data
	e.name, e.data, e.lines = "", e.data[:0], 0
	switch name {
	case "progress", "chunk", "result", "error":
	default:
		return nil, false, nil
	}
	if name == "result" && len(bytes.TrimSpace(data)) == 0 {
		return nil, true, nil
	}
	if err := strict.Check(data); err != nil {
		refuse := invalidResult("the data of an event %s %w", name, err)
		if name == "chunk" {
			refuse = invalidStream(fmt.Errorf("the data of an event chunk %w", err))
		}
		return nil, false, refuse
	}
	switch name {
	case "progress":
		var p *progress
		if err := strict.Unmarshal(data, &p); err != nil || p == nil {
			return nil, false, invalidResult("the data of an event progress are not an object of progress")
		}
		return nil, false, p.tell(e.job)
	case "chunk":
		w, ok, err := parseWord(data)
		if err == nil && (!ok || w.Chunk == nil) {
			err = invalidStream(errors.New(`the data of an event chunk are not {"stream":…,"text":…} or {"stream":…,"items":…}`))
		}
		if err == nil {
			err = e.write(w.Chunk)
		}
		return nil, false, err
	case "error":
		return nil, true, readFailure(data).err(end{code: fmt.Sprintf("http_%d", status)})
	}
	return bytes.Clone(data), true, nil
}

// write writes a piece of a stream.
func (e *events) write(c *chunk) error {
	if e.side == nil {
		return c.write(e.job)
	}
	err := e.side.write(c)
	if errors.Is(err, errStreamClosed) {
		return invalidStream(fmt.Errorf("the stream %s was closed at its URL, and is written to by an event chunk", c.Stream))
	}
	return err
}

// splitLines returns a function for bufio.Scanner that splits at CR, LF, and CR LF. A line is passed on when its end is
// there, though a CR may be the first half of one.
func splitLines() bufio.SplitFunc {
	afterCR := false
	return func(data []byte, atEOF bool) (advance int, token []byte, err error) {
		skip := 0
		if afterCR && len(data) > 0 {
			afterCR = false
			if data[0] == '\n' {
				skip = 1
			}
		}
		i := bytes.IndexAny(data[skip:], "\r\n")
		switch {
		case i >= 0:
			afterCR = data[skip+i] == '\r'
			return skip + i + 1, data[skip : skip+i : skip+i], nil
		case atEOF:
			return len(data), nil, nil // a line without an end counts as none, as the specification says
		}
		return skip, nil, nil
	}
}
