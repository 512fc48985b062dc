// Notes: a small web application on KeyVa. Notes are records whose version is their entity tag; visits are a counter; sessions live in the
// same store, through IDistributedCache. With "Server" instead of "Data" in notes.json the store is a server's, and nothing else changes.
using System.Globalization;
using System.Text;
using KeyVa;
using KeyVa.Hosting;
using Microsoft.AspNetCore.Diagnostics.HealthChecks;

WebApplicationBuilder builder = WebApplication.CreateBuilder(args);
builder.Configuration.AddJsonFile(Path.Combine(AppContext.BaseDirectory, "notes.json"), optional: true).AddEnvironmentVariables().AddCommandLine(args);
builder.Services.AddKeyVa(builder.Configuration.GetSection(KeyVaOptions.Section));
builder.Services.AddKeyVaDistributedCache(static cache => cache.Prefix = "session:");
builder.Services.AddSession(static session => session.IdleTimeout = TimeSpan.FromMinutes(20));
builder.Services.AddHealthChecks().AddKeyVa();

WebApplication app = builder.Build();
app.UseSession();
app.MapHealthChecks("/health/live", new HealthCheckOptions { Predicate = static _ => false });
app.MapHealthChecks("/health/ready", new HealthCheckOptions { Predicate = static check => check.Tags.Contains(KeyVaHealthChecksBuilderExtensions.ReadyTag) });

app.MapGet("/notes", async (IStore store, CancellationToken cancellation) =>
{
    List<string> names = [];
    await foreach (Record record in store.ScanAsync(new ScanOptions { Prefix = Notes.Prefix, KeysOnly = true }, cancellation))
    {
        names.Add(Encoding.UTF8.GetString(record.Key.Span[Notes.Prefix.Length..]));
    }

    return names;
});

app.MapGet("/notes/{name}", async (string name, IStore store, HttpContext context, CancellationToken cancellation) =>
{
    ReadResult read = await store.GetAsync(Notes.Key(name), cancellation);
    if (read.Status != Status.Ok)
    {
        return Results.NotFound();
    }

    context.Response.Headers.ETag = Notes.Tag(read.Record.Version);
    return Results.Text(Encoding.UTF8.GetString(read.Record.Value.Span));
});

// With If-Match nobody's change is lost: whoever has read an older version is told so.
app.MapPut("/notes/{name}", async (string name, IStore store, HttpContext context) =>
{
    using StreamReader reader = new(context.Request.Body);
    byte[] text = Encoding.UTF8.GetBytes(await reader.ReadToEndAsync(context.RequestAborted));
    string match = context.Request.Headers.IfMatch.ToString().Trim('"');
    Condition condition = match.Length == 0 ? default
        : long.TryParse(match, NumberStyles.None, CultureInfo.InvariantCulture, out long version) ? Condition.IfVersion(version)
        : Condition.IfVersion(long.MaxValue);
    WriteResult written = await store.UpsertAsync(Notes.Key(name), text, new WriteOptions { Condition = condition });
    context.Response.Headers.ETag = Notes.Tag(written.IsOk ? written.Version : written.CurrentVersion);
    return written.Status switch
    {
        Status.Ok => Results.NoContent(),
        Status.ConditionFailed => Results.StatusCode(StatusCodes.Status412PreconditionFailed),
        _ => Results.Problem(written.Detail, statusCode: StatusCodes.Status400BadRequest),
    };
});

app.MapDelete("/notes/{name}", async (string name, IStore store) =>
    (await store.RemoveAsync(Notes.Key(name))).IsOk ? Results.NoContent() : Results.NotFound());

// Of everybody, and of this session.
app.MapPost("/visits", async (IStore store, HttpContext context) =>
{
    int mine = (context.Session.GetInt32("visits") ?? 0) + 1;
    context.Session.SetInt32("visits", mine);
    WriteResult all = await store.IncrementAsync("visits"u8.ToArray());
    return $"{mine} of {all.MergedNumber}";
});

app.Run();

/// <summary>How notes stand in the store.</summary>
internal static class Notes
{
    public static readonly byte[] Prefix = "note:"u8.ToArray();

    public static byte[] Key(string name) => [.. Prefix, .. Encoding.UTF8.GetBytes(name)];

    public static string Tag(long version) => string.Create(CultureInfo.InvariantCulture, $"\"{version}\"");
}
