using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Console;

namespace KeyVa.Server;

/// <summary>Where the server's log lines go, and which are written. Stateless.</summary>
internal static class ServerLogging
{
    // RFC 3339 with milliseconds.
    private const string Timestamp = "yyyy-MM-dd'T'HH:mm:ss.fff'Z' ";

    /// <summary>The services that listeners need: logging, to what the options say.</summary>
    public static ServiceProvider Services(ServerOptions options, LiveConfiguration configuration)
    {
        ServiceCollection services = new();
        if (options.Logs is { } given)
        {
            services.AddSingleton(given);
            return services.BuildServiceProvider();
        }

        services.AddLogging(logging =>
        {
            // Asked for every line, since the level may change while the server runs. The framework speaks of every request at information.
            logging.SetMinimumLevel(LogLevel.Trace)
                .AddFilter((category, level) => level >= LeastOf(configuration.Options.LogLevel, category));
            if (options.Telemetry.LogFormat == LogFormat.Json)
            {
                logging.AddJsonConsole(static console =>
                {
                    console.TimestampFormat = Timestamp.TrimEnd();
                    console.UseUtcTimestamp = true;
                });
            }
            else
            {
                logging.AddSimpleConsole(static console =>
                {
                    console.SingleLine = true;
                    console.TimestampFormat = Timestamp;
                    console.UseUtcTimestamp = true;
                    console.ColorBehavior = LoggerColorBehavior.Disabled;
                });
            }
        });

        // Standard output belongs to the command line.
        services.Configure<ConsoleLoggerOptions>(static console => console.LogToStandardErrorThreshold = LogLevel.Trace);
        return services.BuildServiceProvider();
    }

    private static LogLevel LeastOf(LogLevel level, string? category) =>
        level < LogLevel.Warning && category is not null && category.StartsWith("Microsoft.AspNetCore", StringComparison.Ordinal) ? LogLevel.Warning : level;
}
