package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// progress shows how far a bulk load or an export is, where w is a terminal,
// and in any case what it has to say meanwhile.
type progress struct {
	w     io.Writer
	bar   *progressbar.ProgressBar // nil where w is no terminal
	began time.Time
	shown time.Time // when the bar was drawn last
}

// progressInterval is how long a bar stands before it is drawn again. The
// bar's own throttle would drop every other half of an update.
const progressInterval = 100 * time.Millisecond

// newProgress returns the progress towards total, in whatever unit; where that
// is not known, it is -1 and the bar a spinner.
func newProgress(w io.Writer, total int64) *progress {
	p := &progress{w: w, began: time.Now()}
	if isTerminal(w) {
		p.bar = progressbar.NewOptions64(total,
			progressbar.OptionSetWriter(w),
			progressbar.OptionSetDescription("0 records"),
			progressbar.OptionSetPredictTime(true),
			progressbar.OptionSetWidth(20),
			progressbar.OptionClearOnFinish(),
			progressbar.OptionSetSpinnerChangeInterval(0), // else a goroutine of its own draws
		)
	}
	return p
}

// update shows that done of the total are behind, with so many records, and so
// many that failed.
func (p *progress) update(done, records, failed int64) {
	if p.bar == nil || time.Since(p.shown) < progressInterval {
		return
	}
	p.shown = time.Now()
	text := fmt.Sprintf("%s records, %s/s", humanize.Comma(records), perSecond(records, time.Since(p.began)))
	if failed > 0 {
		text += fmt.Sprintf(", %s failed", humanize.Comma(failed))
	}
	p.bar.Describe(text)
	// A bar that cannot be drawn must not stop the work.
	_ = p.bar.Set64(done)
}

// message prints a line of its own.
func (p *progress) message(text string) {
	if p.bar != nil {
		_ = p.bar.Clear()
	}
	// What cannot be told is counted all the same, in the totals.
	_, _ = fmt.Fprintln(p.w, text)
}

// finish removes the bar.
func (p *progress) finish() {
	if p.bar != nil {
		_ = p.bar.Finish()
	}
}

// perSecond returns the rate of n in the time taken, in words.
func perSecond(n int64, took time.Duration) string {
	return humanize.Comma(int64(float64(n) / max(took.Seconds(), 1e-3)))
}

// isTerminal reports whether a reader or writer is a terminal.
func isTerminal(rw any) bool {
	f, ok := rw.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
