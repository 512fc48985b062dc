using System.Text;
using System.Text.Json;
using Microsoft.AspNetCore.Http;

namespace KeyVa.Server;

/// <summary>The settings of the running server: <c>/config</c> lists them, <c>/config/{name}</c> reads and changes one. Thread-safe.</summary>
internal sealed class RestConfiguration(LiveConfiguration configuration)
{
    internal const string Prefix = "/config/";

    private const int MaxValueBytes = 4096;

    /// <summary>Answers the list.</summary>
    public Task ListAsync(HttpContext context) => AnswerAsync(context, json =>
    {
        json.WriteStartObject();
        json.WriteStartArray("settings");
        foreach (EffectiveSetting setting in configuration.List())
        {
            Write(json, setting, detail: null);
        }

        json.WriteEndArray();
        json.WriteEndObject();
    });

    /// <summary>Answers what is below <see cref="Prefix"/>.</summary>
    public Task RouteAsync(HttpContext context, in RestTarget target)
    {
        string name = Uri.UnescapeDataString(target.Path[Prefix.Length..]);
        if (name.Length == 0 || name.Contains('/', StringComparison.Ordinal))
        {
            return RestFrontDoor.RefuseAsync(context, target.Path.ToString());
        }

        string method = context.Request.Method;
        if (!HttpMethods.IsGet(method) && !HttpMethods.IsPut(method))
        {
            return Problem.MethodNotAllowed(method, RestRoutes.MethodsOf(RestRoutes.Setting)).WriteAsync(context);
        }

        if (!RestQuery.TryParse(target.Query, [], out _, out Problem? problem))
        {
            return problem.WriteAsync(context);
        }

        return HttpMethods.IsPut(method) ? ChangeAsync(context, name) : ReadAsync(context, name);
    }

    private Task ReadAsync(HttpContext context, string name) => configuration.List().FirstOrDefault(one => one.Setting.Name == name) is { } found
        ? AnswerAsync(context, json => Write(json, found, detail: null))
        : Problem.Http(StatusCodes.Status404NotFound, "No such setting", $"there is no setting '{name}'; GET {RestRoutes.Configuration} lists them").WriteAsync(context);

    private async Task ChangeAsync(HttpContext context, string name)
    {
        using RequestBody body = await RequestBody.ReadAsync(context.Request, MaxValueBytes, context.RequestAborted);
        if (body.IsTooLong)
        {
            await Problem.Of(Status.TooLarge, $"the value of a setting has at most {MaxValueBytes} bytes").WriteAsync(context);
            return;
        }

        SettingChange change = configuration.Change(name, Encoding.UTF8.GetString(body.Memory.Span).Trim());
        await (change.Status switch
        {
            Status.Ok => AnswerAsync(context, json => Write(json, change.Setting!, change.Detail)),
            Status.NotFound => Problem.Http(StatusCodes.Status404NotFound, "No such setting", change.Detail).WriteAsync(context),
            _ => Problem.Malformed(change.Detail).WriteAsync(context),
        });
    }

    private static void Write(Utf8JsonWriter json, EffectiveSetting setting, string? detail)
    {
        json.WriteStartObject();
        json.WriteString("name", setting.Setting.Name);
        json.WriteString("value", setting.Value);
        json.WriteString("source", setting.Source);
        json.WriteString("default", setting.Setting.Default);
        json.WriteString("allowed", setting.Setting.Allowed);
        json.WriteString("description", setting.Setting.Description);
        json.WriteBoolean("changeable", setting.Setting.ChangeableAtRunTime);
        if (detail is not null)
        {
            json.WriteString("detail", detail);
        }

        json.WriteEndObject();
    }

    internal static async Task AnswerAsync(HttpContext context, Action<Utf8JsonWriter> write)
    {
        context.Response.ContentType = RestJson.ContentType;
        await context.Response.StartAsync();
        using Utf8JsonWriter json = new(context.Response.BodyWriter, RestJson.WriterOptions);
        write(json);
        json.Flush();
    }
}
