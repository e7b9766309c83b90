package template

import "strings"

// Nearest finds the name that was most likely meant by want, for "did you
// mean" hints about steps, templates, callables and keys. It knows misspelt
// names, wrong letter case, and a dotted name of which only the last part is
// right. It reports false when nothing is close; the first of equally close
// names wins.
func Nearest(want string, have []string) (string, bool) {
	best, found := "", false
	bestScore := len([]rune(want))/3 + 1
	if len(want) < 3 {
		bestScore = 1
	}
	for _, name := range have {
		if name == want || name == "" {
			continue
		}
		if score := dissimilarity(want, name); score < bestScore {
			best, bestScore, found = name, score, true
		}
	}
	return best, found
}

func dissimilarity(want, name string) int {
	w, n := strings.ToLower(want), strings.ToLower(name)
	if w == n {
		return 0
	}
	score := editDistance([]rune(w), []rune(n))
	wantLast, nameLast := w[strings.LastIndexByte(w, '.')+1:], n[strings.LastIndexByte(n, '.')+1:]
	if len(wantLast) > 3 && wantLast == nameLast {
		score = min(score, 1)
	}
	return score
}

// editDistance counts insertions, deletions, substitutions and swaps of
// neighbours that turn a into b (optimal string alignment).
func editDistance(a, b []rune) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range a {
		row[0] = i + 1
		for j := range b {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(last[j+1]+1, row[j]+1, last[j]+cost)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
