return {
  standalone = true,
  output = nil,
}
