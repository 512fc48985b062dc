using System.Globalization;
using KeyVa.Partitions;

namespace KeyVa.Watches;

/// <summary>What a watch may ask for. Stateless.</summary>
internal static class WatchRules
{
    /// <summary>Checks a request by itself; throws <see cref="RefusedException"/>.</summary>
    public static WatchTarget Check(WatchOptions options)
    {
        bool hasRange = !options.From.IsEmpty || !options.To.IsEmpty;
        if ((!options.Key.IsEmpty && (!options.Prefix.IsEmpty || hasRange)) || (!options.Prefix.IsEmpty && hasRange))
        {
            throw Invalid("a watch is of a key, of a prefix, or of a range from and to: give one of them");
        }

        if (options.Key.Length > Limits.MaxKeyBytes || options.Prefix.Length > Limits.MaxKeyBytes || options.From.Length > Limits.MaxKeyBytes || options.To.Length > Limits.MaxKeyBytes)
        {
            throw new RefusedException(Status.TooLarge, string.Create(CultureInfo.InvariantCulture, $"a bound exceeds the longest key, {Limits.MaxKeyBytes} bytes"));
        }

        if (options.StartVersion < 0 || options.MaxQueuedEvents < 1 || options.MaxQueuedBytes < 1)
        {
            throw Invalid("the start version is at least 0, the bounds of the queue at least 1");
        }

        WatchTarget target = WatchTarget.Of(options);
        return target.Range.IsEmpty ? throw Invalid("the range is empty: it ends where or before it begins") : target;
    }

    /// <summary>Checks it against what the store has and has been.</summary>
    public static void Check(KeyRange range, long startVersion, long newest, PartitionMap map)
    {
        bool isEverything = range.From.IsEmpty && range.To.IsEmpty;
        ArraySegment<Partition> partitions = map.Cover(range.From.Span, range.To.Span, out bool complete);
        if (!complete && !isEverything)
        {
            throw new RefusedException(Status.BadNode, "this node does not own all that is to be watched; 'keyva admin partition list' shows what it owns");
        }

        foreach (Partition partition in partitions)
        {
            if (partition.Writer.Failure is { } failure)
            {
                throw new RefusedException(Status.Failed, Refusals.Failed(failure).Detail!);
            }
        }

        if (startVersion > newest + 1)
        {
            throw Invalid(string.Create(CultureInfo.InvariantCulture, $"version {startVersion} is not the next one: the newest is {newest}. Where durability is not 'always', a power loss may have taken what came behind it: read the keys anew"));
        }
    }

    private static RefusedException Invalid(string detail) => new(Status.Invalid, detail);
}
