package dossier

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/redoubt-cache/redoubt/internal/evidence"
)

// examineAll examines reports, each for itself and the numbered ones of a host beside each
// other. Of those the last one counts.
func (t *trust) examineAll(reports []Evidence) (list []Evidence, err error) {
	list = slices.Clone(reports)
	for i := range list {
		if slices.ContainsFunc(list[:i], func(e Evidence) bool { return e.Name == list[i].Name }) {
			return nil, fmt.Errorf("two reports are called %s: rename one", list[i].Name)
		}
		if list[i].by, err = t.examine(list[i]); err != nil {
			return nil, err
		}
	}
	for _, chain := range chains(list) {
		for i, e := range chain[1:] {
			before := chain[i]
			switch {
			case e.Report.Number == before.Report.Number:
				return nil, e.refuse("it has the number %d of %s, as %s has: one was copied, or the host was put back to an earlier state", e.Report.Number, e.Report.Host, before.Name)
			case e.Report.Started.Before(before.Report.Started):
				return nil, e.refuse("it has a later number than %s and an earlier time: %s has begun to count anew; leave out what was before", before.Name, e.Report.Host)
			case e.Report.Number == before.Report.Number+1 && e.Report.Previous != hashOf(before.Text):
				return nil, e.refuse("it follows another report than %s, which has the number before it", before.Name)
			}
			list[slices.IndexFunc(list, func(o Evidence) bool { return o.Name == before.Name })].later = true
		}
	}
	return list, nil
}

// chains are the numbered reports that somebody answers for, by who made them, in the
// order of their numbers.
func chains(reports []Evidence) (all [][]Evidence) {
	type maker struct {
		host string
		from evidence.Vantage
	}
	of := map[maker][]Evidence{}
	var order []maker
	for _, e := range reports {
		m := maker{e.Report.Host, e.Report.Vantage}
		if e.by == "" || e.Report.Number == 0 {
			continue
		}
		if of[m] == nil {
			order = append(order, m)
		}
		of[m] = append(of[m], e)
	}
	for _, m := range order {
		slices.SortFunc(of[m], func(a, b Evidence) int { return cmp.Compare(a.Report.Number, b.Report.Number) })
		all = append(all, of[m])
	}
	return all
}

// gaps say which numbers are missing between a host's reports.
func gaps(reports []Evidence) (list []string) {
	for _, chain := range chains(reports) {
		for i, e := range chain[1:] {
			if n, before := e.Report.Number, chain[i].Report.Number; n > before+1 {
				list = append(list, fmt.Sprintf("Of the reports that %s has signed, numbers %d to %d were left out.", e.Report.Host, before+1, n-1))
			}
		}
	}
	return list
}
