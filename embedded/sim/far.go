package sim

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
)

// warnings keeps the warnings and errors that services log.
type warnings struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

// Write implements io.Writer.
func (s *warnings) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *warnings) handler() slog.Handler {
	return slog.NewTextHandler(s, &slog.HandlerOptions{Level: slog.LevelWarn})
}

// Warned returns the lines that a host's services have logged as warnings or errors and that contain part. It is only
// for worlds of RunFar.
func (w *World) Warned(host, part string) []string {
	w.warnings.mu.Lock()
	defer w.warnings.mu.Unlock()
	var lines []string
	for line := range strings.Lines(w.warnings.text.String()) {
		if strings.Contains(line, "host="+host) && strings.Contains(line, part) {
			lines = append(lines, line)
		}
	}
	return lines
}
