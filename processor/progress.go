package processor

import (
	"encoding/json"
	"fmt"
	"math"

	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/plainjson"
	"github.com/ackwire/ackwire/schemas/text"
)

// maxProgressMessage bounds a progress message, in bytes; a longer one is cut.
const maxProgressMessage = 256

// Progress reports the job's progress: percent from 0 to 100 and a message for people.
// It never blocks. Calls are conflated to Config.ProgressRate: the latest call wins, and the
// last one before the handler returns is always sent. A percent below an earlier one
// counts as the earlier one. After the handler has returned Progress does nothing.
func (j *Job) Progress(percent float64, message string) {
	j.report(Progress{Percent: percent, Message: message}.inBounds())
}

// Progress is a job's progress; see Job.Advance.
type Progress struct {
	// Percent is from 0 to 100.
	Percent float64
	// Message is for people; above 256 bytes it is cut.
	Message string
	// Current and Total are counts in the handler's own unit, such as rows. With a Total above 0 and a Percent
	// of 0, Percent is computed from them.
	Current, Total int64
	// Stage names, for programs, what the handler is doing, such as "collect": at most 64 of the characters a-z, 0-9,
	// "_", "." and "-", beginning with a letter or a digit. Empty is none.
	Stage string
	// Data is for programs: any value that encoding/json can marshal, to strict JSON (RFC 7493) of at most 4,096 bytes,
	// nested 100 deep at most. White space between tokens does not count. nil, and a json.RawMessage of no bytes, is none.
	// It is marshalled before Advance returns.
	Data any
}

// Advance is like Job.Progress, and also takes counts, a stage and data. Each call replaces all that an earlier one has
// reported, but for the percent: the stage of an earlier call is gone after one without a stage, as its message is.
//
// It fails, and reports nothing at all, if the stage or the data is not valid. A handler that returns this error fails
// its job for good, with the code CodeInvalidProgress. Without a stage and data Advance does not fail.
func (j *Job) Advance(p Progress) error {
	next := p.inBounds()
	next.Stage = p.Stage
	var err error
	if next.Data, err = encodeData(p.Data); err == nil {
		err = next.Settle()
	}
	if err != nil {
		return WithCode(CodeInvalidProgress, Permanent(fmt.Errorf("progress: %w", err)))
	}
	j.report(next)
	return nil
}

// inBounds returns p without its stage and data. Numbers out of range become the nearest that are in it, and the
// message is cut.
func (p Progress) inBounds() job.Progress {
	if math.IsNaN(p.Percent) {
		p.Percent = 0
	}
	p.Current, p.Total = max(p.Current, 0), max(p.Total, 0)
	if p.Percent == 0 && p.Total > 0 {
		p.Percent = 100 * float64(p.Current) / float64(p.Total)
	}
	return job.Progress{
		Percent: min(max(p.Percent, 0), 100),
		Message: text.Clip(p.Message, maxProgressMessage),
		Current: p.Current, Total: p.Total,
	}
}

// encodeData marshals the data of progress; no bytes are no data. A json.RawMessage is returned as it is, whether it is
// JSON or not.
func encodeData(data any) (json.RawMessage, error) {
	if data == nil {
		return nil, nil
	}
	if raw, ok := data.(json.RawMessage); ok {
		return raw, nil
	}
	b, err := plainjson.Marshal(data)
	if err != nil {
		return nil, fmt.Errorf("the data cannot be encoded: %w", err)
	}
	return b, nil
}
