using System.Text;
using KeyVa.Io;

namespace KeyVa.Indexes;

/// <summary>The entries that a query asks for: [<see cref="From"/>, <see cref="To"/>). One thread.</summary>
internal sealed class IndexBounds : IDisposable
{
    public NativeBuffer From { get; } = new(64);

    public NativeBuffer To { get; } = new(64);

    /// <summary>Whether nothing lies in between.</summary>
    public bool IsEmpty => From.Written.SequenceCompareTo(To.Written) >= 0;

    /// <summary>Null, or why the query cannot be asked of an index with so many fields.</summary>
    public string? Set(IndexQuery query, int fields)
    {
        int further = Math.Max(query.Prefix is null ? 0 : 1, Math.Max(query.From.Count, query.To.Count));
        if (query.Equal.Count + further > fields)
        {
            return $"the query names {query.Equal.Count + further} values, the index '{query.Index}' has {fields} fields";
        }

        if (query.Prefix is not null && query.From.Count + query.To.Count > 0)
        {
            return "a query has a prefix or a range, not both";
        }

        if (query.Equal.Concat(query.From).Concat(query.To).Any(static value => value.Encoded.Length > IndexEntries.MaxTupleBytes)
            || (query.Prefix is not null && Encoding.UTF8.GetByteCount(query.Prefix) > IndexEntries.MaxTupleBytes))
        {
            return $"a value of the query has more than {IndexEntries.MaxTupleBytes} bytes, and no record with such a one is in an index";
        }

        if (query.After.Length > IndexEntries.MaxTupleBytes + Limits.MaxKeyBytes)
        {
            return "the place to go on behind is longer than any that a query has given";
        }

        if (query.Limit < 0)
        {
            return "the limit is negative";
        }

        Append(From, query.Equal);
        Append(To, query.Equal);
        if (query.Prefix is not null)
        {
            SetPrefix(query.Prefix);
            return null;
        }

        Append(From, query.From);
        if (query.FromExclusive && query.From.Count > 0)
        {
            IndexValueEncoding.ToSuccessor(From);
        }
        else if (From.Length == 0)
        {
            From.AppendByte(IndexValueEncoding.Null);
        }

        Append(To, query.To);
        if (To.Length == 0)
        {
            To.AppendByte(IndexValueEncoding.End);
        }
        else if (query.To.Count == 0 || query.ToInclusive)
        {
            IndexValueEncoding.ToSuccessor(To);
        }

        return null;
    }

    public void Dispose()
    {
        From.Dispose();
        To.Dispose();
    }

    // Without the two bytes that end a string.
    private void SetPrefix(string prefix)
    {
        IndexValueEncoding.AppendText(From, IndexValueEncoding.Text, Encoding.UTF8.GetBytes(prefix));
        From.Truncate(From.Length - 2);
        To.Clear();
        To.Append(From.Written);
        IndexValueEncoding.ToSuccessor(To);
    }

    private static void Append(NativeBuffer into, IReadOnlyList<IndexValue> values)
    {
        foreach (IndexValue value in values)
        {
            into.Append(value.Encoded);
        }
    }
}
