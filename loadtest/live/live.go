package live

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"
	"golang.org/x/term"

	"github.com/ackwire/ackwire/loadtest/measure"
	"github.com/ackwire/ackwire/loadtest/scenario"
)

// redraw is the interval at which the view is drawn.
const redraw = 250 * time.Millisecond

// Terminal reports whether a view can be drawn on f.
func Terminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

var coloured = style{
	title: lipgloss.NewStyle().Bold(true).Render,
	dim:   lipgloss.NewStyle().Faint(true).Render,
	good:  lipgloss.NewStyle().Foreground(lipgloss.Color("2")).Render,
	bad:   lipgloss.NewStyle().Foreground(lipgloss.Color("1")).Bold(true).Render,
	bar:   lipgloss.NewStyle().Foreground(lipgloss.Color("4")).Render,
}

// model is the view's state; all figures are in the recorder.
type model struct {
	scenario *scenario.Scenario
	where    string
	rec      *measure.Recorder
	stop     func()
	stopping bool
}

type tick struct{}

func nextTick() tea.Cmd { return tea.Tick(redraw, func(time.Time) tea.Msg { return tick{} }) }

// Init implements tea.Model.
func (m model) Init() tea.Cmd { return nextTick() }

// Update implements tea.Model. The view ends only when the run has ended, so it also shows what the run does after the
// user has stopped it.
func (m model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tick:
		return m, nextTick()
	case tea.KeyPressMsg:
		if key := msg.String(); key == "q" || key == "ctrl+c" {
			m.stopping = true
			m.stop()
		}
	}
	return m, nil
}

// View implements tea.Model.
func (m model) View() tea.View {
	text := draw(m.scenario, m.where, m.rec.Snapshot(points), coloured)
	if m.stopping {
		text += "\nstopping …\n"
	}
	v := tea.NewView(text)
	v.AltScreen = true
	return v
}

// View draws the run on a terminal until ctx ends. It calls stop when the user asks to stop the run.
func View(
	ctx context.Context, in, out *os.File, s *scenario.Scenario, where string, rec *measure.Recorder, stop func(),
) error {
	p := tea.NewProgram(model{scenario: s, where: where, rec: rec, stop: stop},
		tea.WithInput(in), tea.WithOutput(out), tea.WithoutSignalHandler())
	quit := context.AfterFunc(ctx, p.Quit)
	defer quit()
	_, err := p.Run()
	return err
}

// Lines writes a line about the run at an interval, until ctx ends.
func Lines(ctx context.Context, w io.Writer, every time.Duration, s *scenario.Scenario, rec *measure.Recorder) {
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			fmt.Fprintln(w, oneLine(s, rec.Snapshot(0)))
		case <-ctx.Done():
			return
		}
	}
}
