namespace KeyVa.Server;

/// <summary>
/// The bounds of a range that is to be removed, as gRPC and REST give them: a prefix, or from and to, or all keys by that
/// word alone, so that a bound left out by mistake does not empty the store. Stateless.
/// </summary>
internal static class RangeBounds
{
    /// <summary>The range; false with what is wrong.</summary>
    internal static bool TryRead(
        ReadOnlyMemory<byte> prefix, ReadOnlyMemory<byte> from, ReadOnlyMemory<byte> to, bool all, out KeyRange range, out string wrong)
    {
        bool bounded = !from.IsEmpty || !to.IsEmpty;
        range = prefix.IsEmpty ? new KeyRange(from, to) : KeyRange.WithPrefix(prefix);
        wrong = (all, bounded, prefix.IsEmpty) switch
        {
            (_, true, false) => "takes a prefix, or from and to, not both",
            (false, false, true) => "has no bounds; give prefix, from or to, or all = true to remove every key",
            (true, true, true) or (true, false, false) => "takes all = true or bounds, not both",
            _ => "",
        };
        return wrong.Length == 0;
    }
}
