package action

// near returns the known action type that somebody who wrote actionType probably meant, empty when there is none.
func (r *Registry) near(actionType string) string {
	best, closest := "", 1+len(actionType)/3
	if len(actionType) > maxTypeName {
		return ""
	}
	for _, name := range r.names {
		if d := distance(actionType, name); d < closest {
			best, closest = name, d
		}
	}
	return best
}

// maxTypeName bounds what is compared; names of action types are shorter.
const maxTypeName = 128

// distance is how many letters must be put in, left out or replaced to make b of a.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
