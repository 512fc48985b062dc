using System.IO.Pipelines;
using System.Text.Json;
using Google.Protobuf;
using KeyVa.Indexes;
using Wire = KeyVa.Protocol.V1;

namespace KeyVa.Server;

/// <summary>Writes the records that a cursor stands on into an answer, one by one. Used by one thread at a time.</summary>
internal abstract class ListWriter<TCursor>(PipeWriter output) : IDisposable
{
    /// <summary>Bytes gathered before they are sent: fewer calls than one per record, little memory per answer.</summary>
    private const int FlushBytes = 64 * 1024;

    protected PipeWriter Output { get; } = output;

    /// <summary>Bytes written and not sent yet.</summary>
    protected abstract long Pending { get; }

    /// <summary>Adds the record that the cursor stands on.</summary>
    public abstract void Add(TCursor cursor);

    /// <summary>Ends the list.</summary>
    /// <param name="resume">The key behind which more records follow; null: none do.</param>
    public abstract void End(byte[]? resume);

    /// <summary>Sends what has gathered, if it is enough; false when the client is gone. Waits while the client is slow.</summary>
    public async ValueTask<bool> SendAsync(CancellationToken cancellation)
    {
        if (Pending < FlushBytes)
        {
            return true;
        }

        Commit();
        FlushResult flushed = await Output.FlushAsync(cancellation);
        return !flushed.IsCompleted && !flushed.IsCanceled;
    }

    public abstract void Dispose();

    protected abstract void Commit();
}

/// <summary><c>{"records": [{"key": …, "value": …, "version": …, "modified": …}, …], "resume": …}</c>.</summary>
internal abstract class JsonListWriter<TCursor> : ListWriter<TCursor>
{
    private readonly Utf8JsonWriter _json;
    private long _sent;

    protected JsonListWriter(PipeWriter output)
        : base(output)
    {
        _json = new Utf8JsonWriter(output, RestJson.WriterOptions);
        _json.WriteStartObject();
        _json.WriteStartArray("records");
    }

    protected override long Pending => _json.BytesCommitted + _json.BytesPending - _sent;

    public override void Add(TCursor cursor)
    {
        _json.WriteStartObject();
        WriteMembers(_json, cursor);
        _json.WriteEndObject();
    }

    public override void End(byte[]? resume)
    {
        _json.WriteEndArray();
        if (resume is not null)
        {
            _json.WriteString("resume", System.Buffers.Text.Base64Url.EncodeToString(resume));
        }

        _json.WriteEndObject();
        _json.Flush();
    }

    public override void Dispose() => _json.Dispose();

    protected override void Commit()
    {
        _json.Flush();
        _sent = _json.BytesCommitted;
    }

    protected abstract void WriteMembers(Utf8JsonWriter json, TCursor cursor);
}

/// <summary>
/// A message with repeated records, written as many of them one behind the other: protobuf merges concatenated messages, and repeated
/// fields add up, so the body parses as one message although no part of it was ever held as a whole.
/// </summary>
internal abstract class ProtoListWriter<TCursor>(PipeWriter output) : ListWriter<TCursor>(output)
{
    // Tags, lengths and stamps, about.
    protected const int RecordOverhead = 40;

    private long _pending;

    protected override long Pending => _pending;

    /// <summary>The records that have gathered.</summary>
    protected abstract IMessage Part { get; }

    public override void Add(TCursor cursor) => _pending += AddTo(cursor);

    public override void End(byte[]? resume)
    {
        if (resume is not null)
        {
            SetResume(UnsafeByteOperations.UnsafeWrap(resume));
        }

        Commit();
    }

    public override void Dispose() => Clear();

    protected override void Commit()
    {
        ProtoRecord.WriteTo(Part, Output);
        Clear();
        _pending = 0;
    }

    /// <summary>Adds a record, and tells about how many bytes it has.</summary>
    protected abstract long AddTo(TCursor cursor);

    protected abstract void SetResume(ByteString resume);

    protected abstract void Clear();
}

/// <summary>The records of a scan as JSON.</summary>
internal sealed class JsonScanWriter(PipeWriter output, bool keysOnly, bool base64) : JsonListWriter<ScanCursor>(output)
{
    protected override void WriteMembers(Utf8JsonWriter json, ScanCursor cursor)
    {
        RestJson.WriteKey(json, cursor.Key, base64);
        if (!keysOnly)
        {
            RestJson.WriteValue(json, cursor.Value, base64);
        }

        RestJson.WriteStamps(json, cursor.Version, cursor.ModifiedUnixMilliseconds, cursor.ExpiresAtUnixMilliseconds);
    }
}

/// <summary>The records of a scan as a ScanResponse.</summary>
internal sealed class ProtoScanWriter(PipeWriter output) : ProtoListWriter<ScanCursor>(output)
{
    private readonly Wire.ScanResponse _part = new();

    protected override IMessage Part => _part;

    protected override long AddTo(ScanCursor cursor)
    {
        Wire.Record record = ProtoRecord.Of(cursor);
        _part.Records.Add(record);
        return record.Key.Length + record.Value.Length + RecordOverhead;
    }

    protected override void SetResume(ByteString resume) => _part.Resume = resume;

    protected override void Clear() => _part.Records.Clear();
}

/// <summary>What an index query finds as JSON: records as of a scan, with the indexed values as <c>fields</c>.</summary>
internal sealed class JsonIndexWriter(PipeWriter output, bool keysOnly) : JsonListWriter<IndexCursor>(output)
{
    protected override void WriteMembers(Utf8JsonWriter json, IndexCursor cursor)
    {
        RestJson.WriteKey(json, cursor.Key);
        json.WriteStartArray("fields"u8);
        foreach (IndexValue value in cursor.Fields)
        {
            IndexValueJson.Write(json, value);
        }

        json.WriteEndArray();
        if (!keysOnly)
        {
            RestJson.WriteValue(json, cursor.Value);
            RestJson.WriteStamps(json, cursor.Version, cursor.ModifiedUnixMilliseconds, cursor.ExpiresAtUnixMilliseconds);
        }
    }
}

/// <summary>What an index query finds as a QueryResponse.</summary>
internal sealed class ProtoIndexWriter(PipeWriter output) : ProtoListWriter<IndexCursor>(output)
{
    private readonly Wire.QueryResponse _part = new();

    protected override IMessage Part => _part;

    protected override long AddTo(IndexCursor cursor) => IndexCalls.Add(_part, cursor);

    protected override void SetResume(ByteString resume) => _part.Resume = resume;

    protected override void Clear() => _part.Records.Clear();
}
