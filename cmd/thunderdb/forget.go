package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/thunderdb/thunderdb/client"
)

// forceWarning is what whoever forces a member out has to know. Its verb is the
// member's name.
const forceWarning = `Removing %s by force goes on where a majority of the members is gone, or where
too few replicas are left to know of every write. Where that is so

  - all members that are down are given up, and writes that only they have
    acknowledged are lost;
  - those that are left begin a new generation of the cluster: a node of the old
    one that comes back must be emptied before it can join.

Where those members may come back, wait for them instead: they are listed by
thunderdb status.
`

func newForgetCommand() *cobra.Command {
	var force, yes bool
	cmd := &cobra.Command{
		Use:   "forget NAME",
		Short: "Remove a member that is down and will not come back",
		Long: `Forget removes a member that is down, and returns when that is decided: what it
held is then copied among the others, as thunderdb status shows. A member that
is up is not removed: use leave, or stop it first.

It is refused where that may lose acknowledged writes, or where a majority of
the members is gone. With --force it is done all the same, having said what may
be lost and asked; --yes does not ask.`,
		Example: `  thunderdb forget n3
  thunderdb forget n3 --force`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if args[0] == "" {
				return usageError{errors.New("the NAME is empty")}
			}
			if force && !yes {
				if err := confirmForce(cmd.InOrStdin(), cmd.ErrOrStderr(), args[0]); err != nil {
					return err
				}
			}
			c, err := newClient(cmd, client.Options{})
			if err != nil {
				return err
			}
			defer c.Close()
			return c.Forget(cmd.Context(), args[0], force)
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "also where acknowledged writes may be lost, or a majority is gone")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask, for scripts")
	return cmd
}

// confirmForce says what may be lost and asks whether to go on, on a terminal.
func confirmForce(in io.Reader, out io.Writer, name string) error {
	if !isTerminal(in) {
		return usageError{errors.New("--force may lose data, and there is no terminal to ask on: give --yes as well")}
	}
	return ask(in, out, fmt.Sprintf(forceWarning, name), name)
}

// errNotConfirmed is returned where a question was not answered as it had to
// be.
var errNotConfirmed = errors.New("not confirmed: nothing was done")

// ask prints a warning, and returns nil where the line that is typed then is
// word.
func ask(in io.Reader, out io.Writer, warning, word string) error {
	if _, err := fmt.Fprintf(out, "%s\nType %q to go on: ", warning, word); err != nil {
		return err
	}
	line, err := bufio.NewReader(in).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read the answer: %w", err)
	}
	if strings.TrimSpace(line) != word {
		return errNotConfirmed
	}
	return nil
}
