using System.IO.Pipelines;
using System.Text.Json;
using Google.Protobuf;
using Wire = KeyVa.Protocol.V1;

namespace KeyVa.Server;

/// <summary>Writes the records of a scan into an answer, one by one. Used by one thread at a time.</summary>
internal abstract class ListWriter(PipeWriter output) : IDisposable
{
    /// <summary>Bytes gathered before they are sent: fewer calls than one per record, little memory per answer.</summary>
    private const int FlushBytes = 64 * 1024;

    protected PipeWriter Output { get; } = output;

    /// <summary>Bytes written and not sent yet.</summary>
    protected abstract long Pending { get; }

    /// <summary>Adds the record that the cursor stands on.</summary>
    public abstract void Add(ScanCursor cursor);

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
internal sealed class JsonListWriter : ListWriter
{
    private readonly Utf8JsonWriter _json;
    private readonly bool _keysOnly;
    private readonly bool _base64;
    private long _sent;

    public JsonListWriter(PipeWriter output, bool keysOnly, bool base64)
        : base(output)
    {
        _json = new Utf8JsonWriter(output, RestJson.WriterOptions);
        _keysOnly = keysOnly;
        _base64 = base64;
        _json.WriteStartObject();
        _json.WriteStartArray("records");
    }

    protected override long Pending => _json.BytesCommitted + _json.BytesPending - _sent;

    public override void Add(ScanCursor cursor)
    {
        _json.WriteStartObject();
        RestJson.WriteKey(_json, cursor.Key, _base64);
        if (!_keysOnly)
        {
            RestJson.WriteValue(_json, cursor.Value, _base64);
        }

        RestJson.WriteStamps(_json, cursor.Version, cursor.ModifiedUnixMilliseconds, cursor.ExpiresAtUnixMilliseconds);
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
}

/// <summary>
/// A ScanResponse, written as many of them one behind the other: protobuf merges concatenated messages, and repeated
/// fields add up, so the body parses as one message although no part of it was ever held as a whole.
/// </summary>
internal sealed class ProtoListWriter(PipeWriter output) : ListWriter(output)
{
    // Tags, lengths and stamps, about.
    private const int RecordOverhead = 40;

    private readonly Wire.ScanResponse _part = new();
    private long _pending;

    protected override long Pending => _pending;

    public override void Add(ScanCursor cursor)
    {
        Wire.Record record = ProtoRecord.Of(cursor);
        _part.Records.Add(record);
        _pending += record.Key.Length + record.Value.Length + RecordOverhead;
    }

    public override void End(byte[]? resume)
    {
        if (resume is not null)
        {
            _part.Resume = UnsafeByteOperations.UnsafeWrap(resume);
        }

        Commit();
    }

    public override void Dispose() => _part.Records.Clear();

    protected override void Commit()
    {
        ProtoRecord.WriteTo(_part, Output);
        _part.Records.Clear();
        _pending = 0;
    }

}
