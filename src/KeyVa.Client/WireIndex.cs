using System.Globalization;
using System.Text;
using Google.Protobuf;
using KeyVa.Indexes;
using Wire = KeyVa.Protocol.V1;

namespace KeyVa.Client;

/// <summary>Secondary indexes between the interface's types and the messages of data.proto. Stateless.</summary>
internal static class WireIndex
{
    public static Wire.QueryRequest ToRequest(IndexQuery query)
    {
        Wire.QueryRequest request = new()
        {
            Index = query.Index,
            FromExclusive = query.FromExclusive,
            ToInclusive = query.ToInclusive,
            Reverse = query.Reverse,
            Limit = query.Limit,
            After = WireRecord.Lend(query.After),
            KeysOnly = query.KeysOnly,
        };
        if (query.Prefix is { } prefix)
        {
            request.Prefix = prefix;
        }

        request.Equal.AddRange(query.Equal.Select(static value => ToMessage(value)));
        request.From.AddRange(query.From.Select(static value => ToMessage(value)));
        request.To.AddRange(query.To.Select(static value => ToMessage(value)));
        return request;
    }

    public static IndexedRecord ToRecord(Wire.IndexedRecord message)
    {
        IndexValue[] fields = [.. message.Fields.Select(ToValue)];
        Record record = WireRecord.ToRecord(message.Record);
        return new IndexedRecord { Record = record, Fields = fields, ResumeToken = Place(fields, record.Key) };
    }

    public static IndexInfo ToInfo(Wire.Index message) => new()
    {
        Definition = new IndexDefinition
        {
            Name = message.Name,
            Fields = [.. message.Fields],
            Unique = message.Unique,
            Sparse = message.Sparse,
            Strict = message.Strict,
            Extractor = message.Extractor.Length == 0 ? null : message.Extractor,
            ExtractorVersion = message.ExtractorVersion,
        },
        State = (IndexState)message.State,
        FilledRecords = message.FilledRecords,
        TotalRecords = message.TotalRecords,
        Entries = message.Entries,
        StorageBytes = message.StorageBytes,
        Unindexed = message.Unindexed,
        UnindexedKeys = [.. message.UnindexedKeys.Select(static key => key.Memory)],
    };

    private static Wire.IndexValue ToMessage(in IndexValue value) => value.Tag switch
    {
        IndexValueEncoding.Null => new Wire.IndexValue { NullValue = true },
        IndexValueEncoding.False => new Wire.IndexValue { BoolValue = false },
        IndexValueEncoding.True => new Wire.IndexValue { BoolValue = true },
        IndexValueEncoding.Text => new Wire.IndexValue { StringValue = Encoding.UTF8.GetString(value.Content) },
        IndexValueEncoding.Bytes => new Wire.IndexValue { BytesValue = ByteString.CopyFrom(value.Content) },
        _ => new Wire.IndexValue { DecimalValue = value.ToString() },
    };

    private static IndexValue ToValue(Wire.IndexValue message) => message.KindCase switch
    {
        Wire.IndexValue.KindOneofCase.NullValue => IndexValue.Null,
        Wire.IndexValue.KindOneofCase.BoolValue => message.BoolValue,
        Wire.IndexValue.KindOneofCase.IntValue => message.IntValue,
        Wire.IndexValue.KindOneofCase.DoubleValue => IndexValue.From(message.DoubleValue),
        Wire.IndexValue.KindOneofCase.DecimalValue when IndexValue.TryParseNumber(message.DecimalValue, out IndexValue number) => number,
        Wire.IndexValue.KindOneofCase.StringValue => message.StringValue,
        Wire.IndexValue.KindOneofCase.BytesValue => IndexValue.From(message.BytesValue.Span),
        _ => throw new StoreException(string.Create(CultureInfo.InvariantCulture, $"the server sent an indexed value of kind {message.KindCase}, which this client does not know; use a newer one")),
    };

    // As the server makes it (docs/format.md, Indexes): the values, and behind them the key.
    private static byte[] Place(IndexValue[] fields, ReadOnlyMemory<byte> key)
    {
        byte[] place = new byte[fields.Sum(static field => field.Encoded.Length) + key.Length];
        int length = 0;
        foreach (IndexValue field in fields)
        {
            field.Encoded.CopyTo(place.AsSpan(length));
            length += field.Encoded.Length;
        }

        key.Span.CopyTo(place.AsSpan(length));
        return place;
    }
}
