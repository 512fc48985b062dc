using Google.Protobuf;
using Wire = KeyVa.Protocol.V1;

namespace KeyVa.Client;

/// <summary>Between the interface's types and the messages of data.proto. Stateless.</summary>
internal static class WireRecord
{
    /// <summary>Bytes that the caller keeps as they are until the call is done.</summary>
    public static ByteString Lend(ReadOnlyMemory<byte> bytes) => UnsafeByteOperations.UnsafeWrap(bytes);

    /// <summary>A record that was read; its memory is the message's own.</summary>
    public static Record ToRecord(Wire.Record record) => new()
    {
        Key = record.Key.Memory,
        Value = record.Value.Memory,
        Version = record.Version,
        ModifiedUnixMilliseconds = record.ModifiedUnixMs,
        ExpiresAtUnixMilliseconds = record.ExpiresAtUnixMs,
    };

    /// <summary>One record, or null, for each key asked for.</summary>
    public static Record?[] ToRecords(IReadOnlyList<Wire.Record> records, int asked)
    {
        if (records.Count != asked)
        {
            throw new StoreException($"the server answered with {records.Count} records to {asked} keys");
        }

        return [.. records.Select(static record => record.Found ? ToRecord(record) : (Record?)null)];
    }

    public static Wire.Put ToPut(ByteString key, ByteString value, Expiry expiry, Wire.Condition? condition)
    {
        Wire.Put put = new() { Key = key, Value = value, Condition = condition };
        if (expiry.Milliseconds != 0)
        {
            if (expiry.IsRelative)
            {
                put.TtlMs = expiry.Milliseconds;
            }
            else
            {
                put.ExpiresAtUnixMs = expiry.Milliseconds;
            }
        }

        return put;
    }

    public static Wire.Condition? ToCondition(in Condition condition) =>
        ToCondition(condition.Kind, condition.Version, condition.Kind == ConditionKind.IfValue ? Lend(condition.Value) : ByteString.Empty);

    public static Wire.Condition? ToCondition(ConditionKind kind, long version, ByteString value) => kind switch
    {
        ConditionKind.IfAbsent => new Wire.Condition { IfAbsent = true },
        ConditionKind.IfPresent => new Wire.Condition { IfPresent = true },
        ConditionKind.IfVersion => new Wire.Condition { IfVersion = version },
        ConditionKind.IfValue => new Wire.Condition { IfValue = value },
        _ => null,
    };

    public static Wire.ScanRequest ToScan(ScanOptions options)
    {
        Wire.ScanRequest request = ToScanOfNow(options);
        if (options.At.Version != 0)
        {
            request.AtVersion = options.At.Version;
        }
        else if (options.At.IsSet)
        {
            request.AtUnixMs = options.At.UnixMilliseconds;
        }

        return request;
    }

    private static Wire.ScanRequest ToScanOfNow(ScanOptions options) => new()
    {
        Prefix = Lend(options.Prefix),
        From = Lend(options.From),
        To = Lend(options.To),
        Limit = options.Limit,
        Reverse = options.Reverse,
        After = Lend(options.After),
        KeysOnly = options.KeysOnly,
        Unordered = options.Unordered,
        SkipCache = !options.FillCache,
    };
}
