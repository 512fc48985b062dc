using System.Text;
using Google.Protobuf;
using KeyVa.Indexes;
using Wire = KeyVa.Protocol.V1;

namespace KeyVa.Server;

/// <summary>Secondary indexes between data.proto and the store, for gRPC and REST alike. Stateless.</summary>
internal static class ProtoIndex
{
    /// <summary>An index as it is.</summary>
    internal static Wire.Index Of(IndexInfo info)
    {
        IndexDefinition definition = info.Definition;
        Wire.Index message = new()
        {
            Name = definition.Name,
            Unique = definition.Unique,
            Sparse = definition.Sparse,
            Strict = definition.Strict,
            Extractor = definition.Extractor ?? "",
            ExtractorVersion = definition.ExtractorVersion,
            State = (Wire.Index.Types.State)info.State,
            FilledRecords = info.FilledRecords,
            TotalRecords = info.TotalRecords,
            Entries = info.Entries,
            StorageBytes = info.StorageBytes,
            Unindexed = info.Unindexed,
        };
        message.Fields.AddRange(definition.Fields);
        message.UnindexedKeys.AddRange(info.UnindexedKeys.Select(UnsafeByteOperations.UnsafeWrap));
        return message;
    }

    /// <summary>The record that a cursor stands on; the bytes are copied.</summary>
    internal static Wire.IndexedRecord Of(IndexCursor cursor)
    {
        Wire.IndexedRecord message = new()
        {
            Record = new Wire.Record
            {
                Key = ByteString.CopyFrom(cursor.Key),
                Found = true,
                Value = ByteString.CopyFrom(cursor.Value),
                Version = cursor.Version,
                ModifiedUnixMs = cursor.ModifiedUnixMilliseconds,
                ExpiresAtUnixMs = cursor.ExpiresAtUnixMilliseconds,
            },
        };
        foreach (IndexValue value in cursor.Fields)
        {
            message.Fields.Add(Of(value));
        }

        return message;
    }

    /// <summary>What a request asks for; false with what is wrong.</summary>
    internal static bool TryRead(Wire.QueryRequest request, out IndexQuery query, out string wrong)
    {
        query = new IndexQuery { Index = request.Index };
        if (!TryRead(request.Equal, "equal", out List<IndexValue> equal, out wrong)
            || !TryRead(request.From, "from", out List<IndexValue> from, out wrong)
            || !TryRead(request.To, "to", out List<IndexValue> to, out wrong))
        {
            return false;
        }

        query = query with
        {
            Equal = equal,
            From = from,
            To = to,
            FromExclusive = request.FromExclusive,
            ToInclusive = request.ToInclusive,
            Prefix = request.HasPrefix ? request.Prefix : null,
            Reverse = request.Reverse,
            Limit = request.Limit,
            After = request.After.Memory,
            KeysOnly = request.KeysOnly,
        };
        return true;
    }

    private static bool TryRead(Google.Protobuf.Collections.RepeatedField<Wire.IndexValue> messages, string place, out List<IndexValue> values, out string wrong)
    {
        values = new List<IndexValue>(messages.Count);
        wrong = "";
        for (int i = 0; i < messages.Count; i++)
        {
            if (Read(messages[i], out IndexValue value) is { } problem)
            {
                wrong = $"{place}[{i}] {problem}";
                return false;
            }

            values.Add(value);
        }

        return true;
    }

    private static string? Read(Wire.IndexValue message, out IndexValue value)
    {
        value = IndexValue.Null;
        switch (message.KindCase)
        {
            case Wire.IndexValue.KindOneofCase.NullValue:
                return message.NullValue ? null : "has null_value = false, which means nothing; leave it out";
            case Wire.IndexValue.KindOneofCase.BoolValue:
                value = message.BoolValue;
                return null;
            case Wire.IndexValue.KindOneofCase.IntValue:
                value = message.IntValue;
                return null;
            case Wire.IndexValue.KindOneofCase.DoubleValue when double.IsFinite(message.DoubleValue):
                value = message.DoubleValue;
                return null;
            case Wire.IndexValue.KindOneofCase.DoubleValue:
                return "is no finite number";
            case Wire.IndexValue.KindOneofCase.DecimalValue:
                return IndexValue.TryParseNumber(message.DecimalValue, out value) ? null : "has a decimal_value that is no number in the notation of JSON, of up to 400 digits";
            case Wire.IndexValue.KindOneofCase.StringValue:
                value = message.StringValue;
                return null;
            case Wire.IndexValue.KindOneofCase.BytesValue:
                value = IndexValue.From(message.BytesValue.Span);
                return null;
            default:
                return "has no value";
        }
    }

    private static Wire.IndexValue Of(in IndexValue value) => value.Tag switch
    {
        IndexValueEncoding.Null => new Wire.IndexValue { NullValue = true },
        IndexValueEncoding.False or IndexValueEncoding.True => new Wire.IndexValue { BoolValue = value.Tag == IndexValueEncoding.True },
        IndexValueEncoding.Text => new Wire.IndexValue { StringValue = Encoding.UTF8.GetString(value.Content) },
        IndexValueEncoding.Bytes => new Wire.IndexValue { BytesValue = UnsafeByteOperations.UnsafeWrap(value.Content) },
        _ => OfNumber(value.ToString()),
    };

    private static Wire.IndexValue OfNumber(string text) =>
        long.TryParse(text, System.Globalization.NumberStyles.AllowLeadingSign, System.Globalization.CultureInfo.InvariantCulture, out long whole)
            ? new Wire.IndexValue { IntValue = whole }
            : new Wire.IndexValue { DecimalValue = text };
}
