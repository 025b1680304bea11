package top

import (
	"context"
	"errors"
	"os"
	"time"

	tea "charm.land/bubbletea/v2"
	"golang.org/x/term"
)

// Run shows the pools until the operator ends it. It returns an error if the server does
// not answer at the start; later errors are shown on the screen.
func Run(ctx context.Context, source Source, interval time.Duration, out *os.File) error {
	pools, err := source.Pools()
	if err != nil {
		return err
	}
	options := []tea.ProgramOption{tea.WithContext(ctx), tea.WithOutput(out), tea.WithFilter(quitAtInterrupt)}
	if !term.IsTerminal(int(os.Stdin.Fd())) {
		options = append(options, tea.WithInput(nil)) // a signal ends it
	}
	_, err = tea.NewProgram(New(source, interval, View{time.Now(), pools}), options...).Run()
	if errors.Is(err, tea.ErrProgramKilled) {
		return nil
	}
	return err
}

// quitAtInterrupt ends the program at SIGINT as at SIGTERM. As it is, SIGINT kills the
// program, which closes the terminal while another goroutine still reads from it.
func quitAtInterrupt(_ tea.Model, msg tea.Msg) tea.Msg {
	if _, ok := msg.(tea.InterruptMsg); ok {
		return tea.QuitMsg{}
	}
	return msg
}
