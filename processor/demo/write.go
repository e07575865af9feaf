package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"github.com/ackwire/ackwire/internal/pause"
	"github.com/ackwire/ackwire/processor"
)

// Bounds and defaults of demo.write.
const (
	defaultWords = 300
	maxWords     = 100_000
	defaultRate  = 50
	maxRate      = 10_000
)

type writePayload struct {
	// Words is how many words are written to the stream tokens, and Rate how many per second. 0 means 300, and 50.
	Words int     `json:"words"`
	Rate  float64 `json:"rate"`
}

type writeResult struct {
	Words int `json:"words"`
}

// tale is the text that demo.write repeats.
var tale = strings.Fields(`The lamp of the lighthouse had burnt for ninety years when its keeper retired. Nobody wrote that down,
so the ships went on as before: they saw the light, kept their distance, and came home. One night the lamp went out. A
child on the beach held up a lantern and swung it until morning. In the harbour they asked who had kept the light. The
sea answered — as it always does — a little late, but word for word. Größe, they say, is a matter of patience. `)

// WriteStream is the stream to which demo.write writes.
const WriteStream = "tokens"

// Text returns what demo.write writes in so many words: a text of fewer words is its beginning.
func Text(words int) string {
	var all strings.Builder
	for i := range words {
		all.WriteString(word(i))
	}
	return all.String()
}

// Words returns how many words demo.write writes for a payload.
func Words(payload []byte) (int, error) {
	var in writePayload
	if err := json.Unmarshal(payload, &in); err != nil {
		return 0, fmt.Errorf("read the payload of %s: %w", Write, err)
	}
	err := in.complete()
	return in.Words, err
}

// word returns the word at place i of the text, with the space behind it.
func word(i int) string { return tale[i%len(tale)] + " " }

// complete checks the payload and sets what it leaves out.
func (in *writePayload) complete() error {
	switch {
	case in.Words < 0 || in.Words > maxWords:
		return fmt.Errorf("words is not between 0 and %d", maxWords)
	case !(in.Rate >= 0 && in.Rate <= maxRate):
		return fmt.Errorf("rate is not between 0 and %d", maxRate)
	case in.Rate > 0 && in.Rate < 0.1:
		return errors.New("rate is above 0 and below 0.1")
	}
	if in.Words == 0 {
		in.Words = defaultWords
	}
	if in.Rate == 0 {
		in.Rate = defaultRate
	}
	return nil
}

// write writes a text to the stream tokens, word by word, as a language model would.
func write(ctx context.Context, j *processor.Job, in writePayload) (writeResult, error) {
	if err := in.complete(); err != nil {
		return writeResult{}, invalid(err)
	}
	words, rate := in.Words, in.Rate
	every := time.Duration(math.Round(float64(time.Second) / rate))
	j.Log.Info("writing", "words", words, "rate", rate)
	tokens := j.Stream(WriteStream)
	for i := range words {
		if !pause.For(ctx, every) {
			return writeResult{}, context.Cause(ctx)
		}
		if _, err := io.WriteString(tokens, word(i)); err != nil {
			return writeResult{}, err
		}
		if (i+1)%100 == 0 {
			j.Progress(100*float64(i+1)/float64(words), fmt.Sprintf("%d of %d words", i+1, words))
		}
	}
	j.Log.Info("written", "words", words)
	return writeResult{Words: words}, nil
}
